//! Bringing a span of a blob over the wire, however often that takes.
//!
//! Promises: bytes are delivered under the offsets that the registry gave them, ascending, none twice; a connection
//! that drops is taken up where it broke, as long as that gets on; nothing is delivered of a blob that the registry
//! holds in another length. A registry that cannot be asked for a part delivers the whole, from its first byte.

use super::blob::Blob;
use super::body::{self, Body};
use super::client::is_broken;
use crate::error::{Error, Kind, Result};
use crate::net::http::Answer;
use crate::read_at::Sink;
use crate::span::Span;
use std::time::Duration;

/// How many times in a row a transfer may break without a byte.
const MAX_IDLE: u32 = 4;
/// How many requests a span may take, and one more for each [`WORTH`] bytes of it: a server that drops the connection
/// after every byte is not asked for ever.
const MAX_REQUESTS: u64 = 16;
/// The bytes that are worth a request of their own.
const WORTH: u64 = 64 << 10;
/// How often a transfer may fall silent with less than [`WORTH`] to show for it; a silence lasts until the deadline.
const MAX_SILENCES: u32 = 1;
/// How often a transfer may begin anew at the first byte, where the rest cannot be asked for alone.
const MAX_RESTARTS: u32 = 4;
/// The wait after the first break without a byte; it doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// Delivers `span`, which is cut at the end of the blob, to `sink`.
///
/// `brief` ends the transfer with the last byte of `span`, though the registry may be sending more. Errors of the
/// sink come back as they are.
pub(super) fn run(blob: &Blob, span: Span, brief: bool, sink: Sink<'_>) -> Result<()> {
    let size = blob.descriptor.size;
    let span = span.intersect(Span::new(0, size));
    let ranged = span.len() < size && !blob.client.plain.is(&blob.repository);
    let mut transfer =
        Transfer { blob, span, brief, sink, ranged, next: span.start, delivered: 0, restarts: 0, refused: None };
    let (mut idle, mut silences, mut requests) = (0, 0, 0);
    while transfer.next < span.end {
        let before = transfer.delivered;
        let stopped = transfer.attempt();
        if let Some(error) = transfer.refused.take() {
            return Err(error);
        }
        let error = match stopped {
            Err(Stop::Final(error)) => return Err(blob.say(&error)),
            // What breaks behind the last byte that was wanted breaks nothing.
            _ if transfer.next >= span.end => return Ok(()),
            Err(Stop::Broken(error)) => error,
            Ok(()) => Error::new(Kind::Protocol, format!("the registry sends no more after byte {}", transfer.next)),
        };
        let gain = transfer.delivered - before;
        let gained = gain > 0;
        idle = if gained { 0 } else { idle + 1 };
        requests += 1;
        // Waiting a silence out once more helps nobody.
        silences += u32::from(error.kind() == Kind::Timeout && gain < WORTH);
        let silent = error.kind() == Kind::Timeout && !gained;
        if silent || silences > MAX_SILENCES || idle > MAX_IDLE || requests > MAX_REQUESTS + size / WORTH {
            return Err(blob.say(&error));
        }
        if idle > 0 {
            std::thread::sleep(PAUSE * 2u32.pow(idle - 1));
        }
    }
    Ok(())
}

/// Why a request brought no more.
enum Stop {
    /// Asking again may help.
    Broken(Error),
    /// It would not.
    Final(Error),
}

/// A transfer under way.
struct Transfer<'a> {
    blob: &'a Blob,
    span: Span,
    brief: bool,
    sink: Sink<'a>,
    /// Whether the repository is believed to serve parts.
    ranged: bool,
    /// The next byte that the sink has not seen; before anything was delivered, the first one wanted.
    next: u64,
    /// How many bytes the sink was given.
    delivered: u64,
    restarts: u32,
    /// What the sink said when it took no more.
    refused: Option<Error>,
}

impl Transfer<'_> {
    /// One request, and what it brings.
    fn attempt(&mut self) -> Result<(), Stop> {
        let (blob, size) = (self.blob, self.blob.descriptor.size);
        // Once something was delivered only the rest is worth asking for, whatever the repository is known for.
        let resumes = self.delivered > 0;
        let wanted = Span::new(self.next.max(self.span.start), self.span.end);
        let asked = (self.ranged || resumes).then_some(wanted).filter(|wanted| wanted.len() < size);
        let (answer, holds) = match (blob.ask(asked), asked) {
            (Ok(answer), _) => {
                let holds = body::judge(answer.status, &answer.headers, asked, size).map_err(Stop::Final)?;
                (Some(answer), holds)
            }
            // Refused in no way that a blob is: there are servers that choke on ranges, or send parts encoded.
            (Err(error), Some(_)) if error.kind() == Kind::Protocol => (None, Body::Useless(error.to_string())),
            (Err(error), _) => return Err(Stop::Final(error)),
        };
        let in_parts = matches!((&holds, &answer), (Body::Bytes(_), Some(answer)) if answer.status == 206);
        if resumes && !in_parts {
            self.restart()?;
        }
        match (holds, answer) {
            (Body::Bytes(run), Some(answer)) => {
                if asked.is_some() {
                    blob.client.plain.set(&blob.repository, !in_parts);
                }
                self.copy(answer, run)
            }
            (Body::Useless(why), _) if asked.is_none() => Err(Stop::Final(Error::new(Kind::Protocol, why))),
            (_, answer) => {
                // Its body may not even end: it is not read.
                drop(answer);
                let answer = blob.ask(None).map_err(Stop::Final)?;
                match body::judge(answer.status, &answer.headers, None, size).map_err(Stop::Final)? {
                    Body::Bytes(run) => {
                        blob.client.plain.set(&blob.repository, true);
                        self.copy(answer, run)
                    }
                    Body::Useless(why) => Err(Stop::Final(Error::new(Kind::Protocol, why))),
                }
            }
        }
    }

    /// Counts a beginning anew at the first byte.
    fn restart(&mut self) -> Result<(), Stop> {
        self.restarts += 1;
        if self.restarts <= MAX_RESTARTS {
            return Ok(());
        }
        let why = "the connection broke off again and again, and the registry begins at the first byte each time";
        Err(Stop::Final(Error::new(Kind::Protocol, why)))
    }

    /// Delivers a body that holds the bytes `run`.
    fn copy(&mut self, mut answer: Answer, run: Span) -> Result<(), Stop> {
        let mut at = run.start;
        while at < run.end && !self.is_done() {
            let Some(bytes) = chunk(&mut answer)? else {
                let why = format!("the body ends at byte {at}, before byte {}", run.end);
                return Err(Stop::Broken(Error::new(Kind::Corrupt, why)));
            };
            if bytes.len() as u64 > run.end - at {
                let why = format!("the body goes on behind byte {}, its end", run.end);
                return Err(Stop::Final(Error::new(Kind::Corrupt, why)));
            }
            self.deliver(at, &bytes).map_err(Stop::Final)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.brief && self.next >= self.span.end
    }

    /// Gives the sink what it has not seen of the bytes at `at`.
    fn deliver(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let end = at + bytes.len() as u64;
        // Until something was delivered, bytes before the span are news too: the sink may keep them.
        let from = if self.delivered > 0 { self.next.max(at) } else { at };
        if end <= from {
            return Ok(());
        }
        let news = &bytes[(from - at) as usize..];
        if let Err(error) = (self.sink)(from, news) {
            self.refused = Some(error.clone());
            return Err(error);
        }
        self.delivered += news.len() as u64;
        self.next = end;
        Ok(())
    }
}

/// The next part of a body; the end of the connection, or a silence on it, is worth another try.
fn chunk(answer: &mut Answer) -> Result<Option<bytes::Bytes>, Stop> {
    answer.chunk().map_err(|error| match error.kind() {
        Kind::Timeout => Stop::Broken(error),
        _ if is_broken(&error) => Stop::Broken(error),
        _ => Stop::Final(error),
    })
}
