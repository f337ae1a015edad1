//! One connection: reads requests, writes answers as they were ordered.

use super::Shared;
use super::reply::{Cut, End, Length, Reply};
use super::request::Request;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A line of a head; longer ends the connection.
const MAX_LINE: u64 = 64 * 1024;
/// Headers of a request; more end the connection.
const MAX_HEADERS: usize = 200;
/// The body of a request; larger ends the connection.
const MAX_BODY: u64 = 1 << 30;
/// A client that sends or takes nothing for so long has gone.
const IDLE: Duration = Duration::from_secs(120);
/// Bytes of a body made and written at a time.
const PART: u64 = 256 * 1024;

/// What becomes of the connection after an answer.
enum After {
    Keep,
    Close,
    Reset,
}

/// Serves until either side ends it. True if the connection is to be reset: then it must not be shut down in order.
pub(super) fn serve(shared: &Shared, stream: &TcpStream, id: u64) -> bool {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(IDLE));
    let _ = stream.set_write_timeout(Some(IDLE));
    let mut reader = BufReader::new(stream);
    while !shared.stopping() {
        let Ok(Some(request)) = read(&mut reader, stream, id) else { return false };
        shared.log(&request);
        let reply = (shared.handler)(&request);
        match write(shared, stream, &request, &reply) {
            Ok(After::Keep) => {}
            Ok(After::Reset) => return true,
            Ok(After::Close) | Err(_) => return false,
        }
    }
    false
}

fn read(reader: &mut BufReader<&TcpStream>, mut stream: &TcpStream, connection: u64) -> io::Result<Option<Request>> {
    // A TLS handshake has no lines: real servers say so at once.
    if reader.fill_buf()?.first() == Some(&0x16) {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        return Ok(None);
    }
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        if !first.is_empty() {
            // TLS, say: servers in clear tell so.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
        }
        return Ok(None);
    };
    let mut headers = Vec::new();
    loop {
        let header = line(reader)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        if headers.len() > MAX_HEADERS {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let local = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
        connection,
        at: Instant::now(),
    };
    if request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        request.body = chunked(reader)?;
    } else if let Some(length) = request.header("content-length") {
        let length: u64 = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        if length > MAX_BODY {
            return Err(io::ErrorKind::InvalidData.into());
        }
        request.body = vec![0; length as usize];
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn line(reader: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn chunked(reader: &mut BufReader<&TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(reader)?;
        let size = u64::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16)
            .map_err(|_| io::ErrorKind::InvalidData)?;
        if size == 0 {
            while !line(reader)?.is_empty() {}
            return Ok(body);
        }
        if body.len() as u64 + size > MAX_BODY {
            return Err(io::ErrorKind::InvalidData.into());
        }
        reader.take(size).read_to_end(&mut body)?;
        line(reader)?;
    }
}

fn write(shared: &Shared, mut stream: &TcpStream, request: &Request, reply: &Reply) -> io::Result<After> {
    if !reply.delay.is_zero() {
        shared.pause(reply.delay);
    }
    match reply.end {
        End::CutBeforeHead(cut) => return Ok(end(stream, cut)),
        End::HangBeforeHead => {
            shared.hang();
            return Ok(After::Close);
        }
        _ => {}
    }
    if let Some(to) = reply.tunnel {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        return tunnel(stream, to);
    }
    if !reply.raw {
        stream.write_all(head(request, reply).as_bytes())?;
    }
    // A HEAD, 204 or 304 has no body, whatever its headers say of one.
    let bodyless = !reply.raw && (request.method == "HEAD" || matches!(reply.status, 204 | 304));
    if !bodyless {
        let chunked = reply.length == Length::Chunked && !reply.raw;
        let limit = match reply.end {
            End::CutAfter(bytes, _) | End::HangAfter(bytes) => bytes,
            _ => u64::MAX,
        };
        send(shared, stream, reply, limit, chunked)?;
        match reply.end {
            End::CutAfter(_, cut) => return Ok(end(stream, cut)),
            End::HangAfter(_) => {
                shared.hang();
                return Ok(After::Close);
            }
            _ if chunked => stream.write_all(b"0\r\n\r\n")?,
            _ => {}
        }
    }
    let closes = reply.close
        || (!bodyless && matches!(reply.length, Length::Omitted | Length::Claimed(_)))
        || request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(if closes { After::Close } else { After::Keep })
}

fn head(request: &Request, reply: &Reply) -> String {
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status));
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.length {
        // The headers of the answer may hold a lie of their own; a 204 has none.
        Length::Known if reply.value("content-length").is_some() || reply.status == 204 => {}
        Length::Known => head.push_str(&format!("Content-Length: {}\r\n", reply.body.len())),
        Length::Claimed(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        Length::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Length::Omitted => {}
    }
    if reply.close || (reply.length == Length::Omitted && request.method != "HEAD") {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    head
}

fn send(shared: &Shared, mut stream: &TcpStream, reply: &Reply, limit: u64, chunked: bool) -> io::Result<()> {
    let end = reply.body.len().min(limit);
    let part = reply.drip.map_or(PART, |(bytes, _)| bytes.clamp(1, PART));
    let mut buf = vec![0; part.min(end.max(1)) as usize];
    let mut at = 0;
    while at < end && !shared.stopping() {
        let n = (end - at).min(part);
        let bytes = &mut buf[..n as usize];
        reply.body.fill(at, bytes);
        if chunked {
            stream.write_all(format!("{n:x}\r\n").as_bytes())?;
        }
        stream.write_all(bytes)?;
        if chunked {
            stream.write_all(b"\r\n")?;
        }
        shared.body_bytes.fetch_add(n, Ordering::SeqCst);
        at += n;
        if let Some((_, pause)) = reply.drip {
            shared.pause(pause);
        }
    }
    Ok(())
}

fn end(stream: &TcpStream, cut: Cut) -> After {
    match cut {
        Cut::Fin => {
            let _ = stream.shutdown(Shutdown::Write);
            After::Close
        }
        Cut::Rst => {
            // Lets the close that follows be a reset.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            After::Reset
        }
    }
}

fn tunnel(stream: &TcpStream, to: SocketAddr) -> io::Result<After> {
    let far = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &far, &mut &*stream);
            let _ = stream.shutdown(Shutdown::Both);
        });
        let _ = io::copy(&mut &*stream, &mut &far);
        let _ = far.shutdown(Shutdown::Both);
    });
    Ok(After::Close)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
