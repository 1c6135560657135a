// A TCP proxy in Go, in the two ways in which such a proxy is usually written.
//
//	proxy naive|half-close LISTEN SERVER
//
// naive: two io.Copy, and the first one that ends closes both connections. A client that half-closes
// to say "that was my request" loses its reply.
//
// half-close: the end of each direction is passed on with CloseWrite, and both connections are closed
// when both directions have ended. A reset still arrives at the other side as a FIN: io.Copy returns
// an error for it, and CloseWrite or Close sends a FIN.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 4 || os.Args[1] != "naive" && os.Args[1] != "half-close" {
		fail("usage: proxy naive|half-close LISTEN SERVER")
	}
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		fail(err)
	}
	serve := naive
	if os.Args[1] == "half-close" {
		serve = halfClose
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
			serve(client.(*net.TCPConn), server.(*net.TCPConn))
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

func fail(what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}
