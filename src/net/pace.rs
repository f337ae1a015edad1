//! How fast a body has to come, so that a server that sends a byte now and then holds nobody up.
//!
//! Promises: a body that is read to its end as an answer is whole by a deadline that only [`MIN_RATE`] moves; one of
//! any size brings [`MIN_RATE`] on average over each window of the timeout, and is never silent for longer than that.
//! Only the time that it is waited for counts: its reader may be slow as well. Knows no clock but the one it is given.

use super::wire;
use std::time::Duration;

/// Bytes per second that a body has to bring on average: what is left to each of as many bodies as a host may have in
/// flight on a line of 8 KiB/s.
const MIN_RATE: u32 = 256;
/// More bytes move no deadline any further: clocks overflow.
const MAX_COUNTED: u64 = 1 << 40;

/// How fast one body has come so far.
pub(super) struct Pace {
    /// Also how long a window is.
    timeout: Duration,
    /// Waited since the window began, and what came meanwhile.
    waited: Duration,
    came: u64,
    /// All that came.
    total: u64,
    /// How long after its request the whole body may end, were it empty.
    whole: Option<Duration>,
}

impl Pace {
    /// A body of any size.
    pub(super) fn new(timeout: Duration) -> Pace {
        Pace { timeout, waited: Duration::ZERO, came: 0, total: 0, whole: None }
    }

    /// From now on it has to end, at the latest `within` after its request and what [`MIN_RATE`] grants its bytes.
    pub(super) fn end(&mut self, within: Duration) {
        self.whole = Some(within);
    }

    /// How long the next byte may be waited for, `age` after the request.
    pub(super) fn patience(&self, age: Duration) -> Duration {
        let granted = Duration::from_secs(self.total.min(MAX_COUNTED)) / MIN_RATE;
        match self.whole {
            Some(within) => (within + granted).saturating_sub(age).min(self.timeout),
            None => self.timeout.saturating_sub(self.waited),
        }
    }

    /// Bytes came after a wait.
    pub(super) fn came(&mut self, bytes: usize, waited: Duration) {
        self.waited += waited;
        self.came += bytes as u64;
        self.total += bytes as u64;
    }

    /// The patience is at its end, after a wait. Why the body is given up; `None` if only the window is over.
    pub(super) fn give_up(&mut self, waited: Duration, age: Duration) -> Option<String> {
        self.waited += waited;
        let least = (self.timeout.as_secs_f64() * f64::from(MIN_RATE)) as u64;
        if self.whole.is_none() && waited < self.timeout && self.came >= least {
            // The silence goes on in the next window.
            (self.waited, self.came) = (waited, 0);
            return None;
        }
        let (came, time) = match self.whole {
            Some(_) if waited < self.timeout => (self.total, age),
            Some(_) => (0, waited),
            None => (self.came, self.waited),
        };
        Some(match came {
            0 => format!("no byte in {}", wire::seconds(time)),
            1 => format!("only 1 byte in {}", wire::seconds(time)),
            came => format!("only {came} bytes in {}", wire::seconds(time)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// When a body that brings `bytes` after each `pause` is given up, and why; within an hour.
    fn drip(mut pace: Pace, bytes: usize, pause: Duration) -> Option<(Duration, String)> {
        let (mut age, mut silent) = (Duration::ZERO, Duration::ZERO);
        while age < Duration::from_secs(3600) {
            let patience = pace.patience(age);
            if patience < pause - silent {
                age += patience;
                silent += patience;
                if let Some(why) = pace.give_up(patience, age) {
                    return Some((age, why));
                }
            } else {
                age += pause - silent;
                pace.came(bytes, pause - silent);
                silent = Duration::ZERO;
            }
        }
        None
    }

    fn whole() -> Pace {
        let mut pace = Pace::new(TIMEOUT);
        pace.end(TIMEOUT);
        pace
    }

    #[test]
    fn a_byte_now_and_then_is_no_progress() {
        let second = Duration::from_secs(1);
        let (age, why) = drip(whole(), 1, second).expect("given up");
        assert!(age < TIMEOUT + second, "{age:?}");
        assert_eq!(why, "only 5 bytes in 5 s");
        let (age, why) = drip(Pace::new(TIMEOUT), 1, Duration::from_millis(900)).expect("given up");
        assert_eq!((age, why.as_str()), (TIMEOUT, "only 5 bytes in 5 s"));
    }

    #[test]
    fn a_slow_line_is_waited_for() {
        for pace in [whole(), Pace::new(TIMEOUT)] {
            assert_eq!(drip(pace, 8 << 10, Duration::from_secs(1)), None);
        }
        assert_eq!(drip(Pace::new(TIMEOUT), 4 << 10, Duration::from_millis(4900)), None);
    }

    #[test]
    fn silence_lasts_as_long_as_the_timeout() {
        for pace in [whole(), Pace::new(TIMEOUT)] {
            let (age, why) = drip(pace, 1, Duration::from_secs(60)).expect("given up");
            assert_eq!((age, why.as_str()), (TIMEOUT, "no byte in 5 s"));
        }
        let mut pace = Pace::new(TIMEOUT);
        pace.came(1 << 20, Duration::from_secs(3));
        assert_eq!(pace.give_up(Duration::from_secs(2), TIMEOUT), None);
        assert_eq!(pace.patience(TIMEOUT), Duration::from_secs(3), "what is left of the silence");
        assert!(pace.give_up(Duration::from_secs(3), TIMEOUT * 2).is_some());
    }
}
