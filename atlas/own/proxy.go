// A TCP proxy in Go: in the two ways in which such a proxy is usually written, and in one that passes
// on both kinds of ends.
//
//	proxy naive|half-close|resets LISTEN SERVER
//
// naive: two io.Copy, and the first one that ends closes both connections. A client that half-closes
// to say "that was my request" loses its reply.
//
// half-close: the end of each direction is passed on with CloseWrite, and both connections are closed
// when both directions have ended. A reset still arrives at the other side as a FIN: io.Copy returns
// an error for it, and CloseWrite or Close sends a FIN.
//
// resets: as half-close, but a reset of one side resets the other (SO_LINGER 0, then close).
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

func main() {
	serve := map[string]func(client, server *net.TCPConn){
		"naive": naive, "half-close": halfClose, "resets": resets,
	}
	if len(os.Args) != 4 || serve[os.Args[1]] == nil {
		fail("usage: proxy naive|half-close|resets LISTEN SERVER")
	}
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		fail(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go func() {
			server, err := net.Dial("tcp", os.Args[3])
			if err != nil {
				client.Close()
				return
			}
			serve[os.Args[1]](client.(*net.TCPConn), server.(*net.TCPConn))
		}()
	}
}

func naive(client, server *net.TCPConn) {
	ended := make(chan struct{}, 2)
	copy := func(to, from *net.TCPConn) {
		io.Copy(to, from)
		ended <- struct{}{}
	}
	go copy(server, client)
	go copy(client, server)
	<-ended
	client.Close()
	server.Close()
}

func halfClose(client, server *net.TCPConn) {
	ended := make(chan struct{}, 2)
	copy := func(to, from *net.TCPConn) {
		io.Copy(to, from)
		to.CloseWrite()
		ended <- struct{}{}
	}
	go copy(server, client)
	go copy(client, server)
	<-ended
	<-ended
	client.Close()
	server.Close()
}

func resets(client, server *net.TCPConn) {
	ended := make(chan struct{}, 2)
	copy := func(to, from *net.TCPConn) {
		_, err := io.Copy(to, from)
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			for _, side := range []*net.TCPConn{to, from} {
				side.SetLinger(0)
				side.Close()
			}
		} else {
			to.CloseWrite()
		}
		ended <- struct{}{}
	}
	go copy(server, client)
	go copy(client, server)
	<-ended
	<-ended
	client.Close()
	server.Close()
}

func fail(what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}
