// A TCP proxy in Node.js, in the two ways in which such a proxy is usually written.
//
//   node proxy.js naive|half-close LISTEN_HOST LISTEN_PORT SERVER_HOST SERVER_PORT
//
// naive: a pipe in each direction, as in most examples. Node answers a client's FIN with a FIN of its
// own, because allowHalfOpen is false by default: a client that half-closes loses its reply, while
// the server is told that the reply was delivered.
//
// half-close: allowHalfOpen on both sides. A pipe passes the end of each direction on. A reset still
// arrives at the other side as a FIN: an error destroys one socket, and end() sends a FIN on the other.
'use strict';

const net = require('node:net');

const [mode, host, port, serverHost, serverPort] = process.argv.slice(2);
if (!['naive', 'half-close'].includes(mode) || !serverPort) {
  console.error('usage: proxy.js naive|half-close LISTEN_HOST LISTEN_PORT SERVER_HOST SERVER_PORT');
  process.exit(2);
}
const allowHalfOpen = mode === 'half-close';

net.createServer({ allowHalfOpen }, (client) => {
  const server = net.connect({ host: serverHost, port: Number(serverPort), allowHalfOpen });
  client.pipe(server);
  server.pipe(client);
  // An 'error' that no listener takes ends the process. What is left of the pair is ended here.
  client.on('error', () => server.end());
  server.on('error', () => client.end());
}).listen(Number(port), host);
