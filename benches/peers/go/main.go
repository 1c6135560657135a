// A peer to measure against: a goroutine per connection, a read deadline set anew before each read.
//
// It does what the Go server does in the article that closecall comes from: accept, start a
// goroutine, then deadline, read, write the prefix and the bytes, until the end of the stream, an
// error or ten seconds of silence. Three things differ, each in its favour: it logs nothing, it
// keeps one buffer a connection where the article makes a new one for each read, and the prefix
// lies in front of the data where the article formats a new string. The prefix is closecall's.
//
// What the net package does by itself is left as it is: TCP_NODELAY and keepalive on each accepted
// connection, a backlog of net.core.somaxconn, and as many threads as the pinned core allows.
//
//	peer [PORT]        no PORT, or 0: the system picks one
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

const (
	prefix       = "from server back[rust]:"
	chunkBytes   = 65536
	readDeadline = 10 * time.Second
)

func main() {
	port := "0"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		fail(err)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go serve(connection)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func serve(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, len(prefix)+chunkBytes)
	copy(buffer, prefix)
	for {
		if connection.SetReadDeadline(time.Now().Add(readDeadline)) != nil {
			return
		}
		got, err := connection.Read(buffer[len(prefix):])
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:len(prefix)+got]); err != nil {
			return
		}
	}
}
