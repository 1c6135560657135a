//! A peer to measure against: the usual tokio echo server, a task per connection.
//!
//! `current_thread`, because every server here has one core. Each read is under a `timeout` of ten
//! seconds, which is tokio's way to a read deadline. The buffer belongs to the task, as is usual,
//! with the prefix lying in front of the data, so that a reply is one `write_all` and no copy. It
//! is not filled with zeros first: memory that no byte was read into is not resident.
//!
//! ```text
//! closecall-peer-tokio [PORT [BYTES]]   no PORT, or 0: the system picks one
//! ```
//!
//! BYTES is the longest read, and so the longest piece of work between two looks at the others: 64
//! KiB as closecall has it, or the 1 KiB of tokio's own echo example.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

const PREFIX: &[u8] = b"from server back[rust]:";
const READ_BYTES: usize = 65536;
const BACKLOG: u32 = 4096;
const READ_DEADLINE: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    let argument = |place| std::env::args().nth(place);
    let port = argument(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let read_bytes = argument(2).and_then(|bytes| bytes.parse().ok()).unwrap_or(READ_BYTES);
    Builder::new_current_thread().enable_all().build()?.block_on(listen(port, read_bytes))
}

async fn listen(port: u16, read_bytes: usize) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let listener = socket.listen(BACKLOG)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept().await?;
        tokio::spawn(serve(connection, read_bytes));
    }
}

/// Until the end of the stream, ten seconds of silence or an error; dropping it is the close.
async fn serve(mut connection: TcpStream, read_bytes: usize) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reply = Vec::with_capacity(PREFIX.len() + read_bytes);
    reply.extend_from_slice(PREFIX);
    loop {
        reply.truncate(PREFIX.len());
        let Ok(got) = timeout(READ_DEADLINE, connection.read_buf(&mut reply)).await else {
            return Ok(());
        };
        if got? == 0 {
            return Ok(());
        }
        connection.write_all(&reply).await?;
    }
}
