// A TCP proxy in Node.js: in the two ways in which such a proxy is usually written, and in one that
// passes on both kinds of ends.
//
//   node proxy.js naive|half-close|resets LISTEN_HOST LISTEN_PORT SERVER_HOST SERVER_PORT
//
// naive: a pipe in each direction, as in most examples. Node answers a client's FIN with a FIN of its
// own, because allowHalfOpen is false by default: a client that half-closes loses its reply, while
// the server is told that the reply was delivered.
//
// half-close: allowHalfOpen on both sides. A pipe passes the end of each direction on. A reset still
// arrives at the other side as a FIN: an error destroys one socket, and end() sends a FIN on the other.
//
// resets: as half-close, but an error of one side resets the other (resetAndDestroy, Node 18.3).
'use strict';

const net = require('node:net');

const [mode, host, port, serverHost, serverPort] = process.argv.slice(2);
if (!['naive', 'half-close', 'resets'].includes(mode) || !serverPort) {
  console.error('usage: proxy.js naive|half-close|resets LISTEN_HOST LISTEN_PORT SERVER_HOST SERVER_PORT');
  process.exit(2);
}
const allowHalfOpen = mode !== 'naive';
const end = (socket) => (mode === 'resets' ? socket.resetAndDestroy() : socket.end());

net.createServer({ allowHalfOpen }, (client) => {
  const server = net.connect({ host: serverHost, port: Number(serverPort), allowHalfOpen });
  client.pipe(server);
  server.pipe(client);
  // An 'error' that no listener takes ends the process. What is left of the pair is ended here.
  client.on('error', () => end(server));
  server.on('error', () => end(client));
}).listen(Number(port), host);
