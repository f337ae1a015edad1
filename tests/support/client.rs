//! A minimal HTTP/1.1 client in clear, one connection per request: enough to push odd manifests and to ask servers
//! what they have. It shares nothing with the client under test.

use super::content::Content;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Content>,
    limit: Duration,
}

/// Its answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Ask {
    pub fn new(method: &str, url: &str) -> Ask {
        Ask {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            limit: Duration::from_secs(60),
        }
    }

    pub fn get(url: &str) -> Ask {
        Ask::new("GET", url)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Ask {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn body(self, body: impl Into<Content>) -> Ask {
        Ask { body: Some(body.into()), ..self }
    }

    /// How long any read or write may take.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Ask {
        Ask { limit, ..self }
    }

    /// Sends it; redirects are answers.
    pub fn send(&self) -> io::Result<Answer> {
        let rest = self.url.strip_prefix("http://").ok_or_else(|| io::Error::other("only http://"))?;
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let address = host.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut stream = TcpStream::connect_timeout(&address, self.limit)?;
        stream.set_read_timeout(Some(self.limit))?;
        stream.set_write_timeout(Some(self.limit))?;
        let mut head = format!("{} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.method);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.body.is_some() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.as_ref().map_or(0, Content::len)));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if let Some(body) = &self.body {
            let mut failed = None;
            body.each(|part| {
                if failed.is_none() {
                    failed = stream.write_all(part).err();
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
        }
        read(&mut BufReader::new(stream), self.method == "HEAD")
    }
}

fn read(reader: &mut impl BufRead, bodyless: bool) -> io::Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no status in {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if bodyless || matches!(status, 204 | 304) {
        return Ok(answer);
    }
    if answer.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                break;
            }
            reader.take(size).read_to_end(&mut answer.body)?;
            line.clear();
            reader.read_line(&mut line)?;
        }
    } else if let Some(length) = answer.header("content-length").and_then(|length| length.parse::<u64>().ok()) {
        reader.take(length).read_to_end(&mut answer.body)?;
    } else {
        reader.read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }
}
