//! A remote that never answers: what it delays, and how those who wait for it get away.

use crate::served::Served;
use crate::support::run::command;
use crate::support::{mount, wait_for};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How soon a caller that was killed must be gone.
const SOON: Duration = Duration::from_secs(3);

/// A program that waits for the mount; killed when dropped.
struct Stuck(Child);

impl Stuck {
    fn start(program: &str, path: std::path::PathBuf) -> Stuck {
        let mut stuck = command(program);
        Stuck(stuck.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start"))
    }

    /// Sends it a signal; how it ended.
    #[track_caller]
    fn end(&mut self, signal: i32) -> std::process::ExitStatus {
        assert!(self.0.try_wait().expect("wait").is_none(), "it was to be stuck");
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let signal = nix::sys::signal::Signal::try_from(signal).expect("a signal");
        nix::sys::signal::kill(pid, signal).expect("kill");
        let child = &mut self.0;
        wait_for("the end of a program that was killed", SOON, || child.try_wait().expect("wait"))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.kill().ok();
        // Not waited for: it may hang until the mount is gone.
    }
}

#[test]
fn signals_end_who_waits_for_a_dead_remote() {
    let mount = Served::new("");
    // The first of them all may leave the kernel its own way out; the later ones have only ours.
    for (program, path) in [("stat", "dead/never"), ("cat", "dead/open"), ("cat", "dead/r0"), ("ls", "dead/never")] {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL, libc::SIGINT] {
            let mut stuck = Stuck::start(program, mount.path(path));
            std::thread::sleep(Duration::from_millis(400));
            let status = stuck.end(signal);
            assert_eq!(status.signal(), Some(signal), "{program} {path}: {status}");
        }
    }
}

#[test]
fn signals_that_a_program_ignores_end_nothing() {
    let mount = Served::new("");
    let mut stuck = command("sh");
    stuck.args(["-c", "trap '' INT; exec stat \"$0\""]).arg(mount.path("dead/never"));
    let mut stuck = Stuck(stuck.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start"));
    std::thread::sleep(Duration::from_millis(400));
    let pid = nix::unistd::Pid::from_raw(stuck.0.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("kill");
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(stuck.end(libc::SIGKILL).signal(), Some(libc::SIGKILL));
}

/// Lets the kernel drop what it keeps of a file, so that the next read asks for it.
fn forget_pages(path: &Path) {
    let file = std::fs::File::open(path).expect("open");
    nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("fadvise");
}

#[test]
fn sixty_four_stuck_readers_delay_nobody_else() {
    let mount = Served::new("");
    let small = mount.path("small");
    std::fs::read(&small).expect("read");
    let mut stuck: Vec<Stuck> = (0..64).map(|n| Stuck::start("cat", mount.path(&format!("dead/r{n}")))).collect();
    // More wait for the directory itself.
    stuck.extend((0..32).map(|_| Stuck::start("stat", mount.path("dead/never"))));
    wait_for("64 reads to hang", Duration::from_secs(30), || (mount.calls("read stuck") >= 64).then_some(()));

    for path in ["small", "big", "dead/cached", ".regfs/calls", "many/f0007"] {
        let mut times: Vec<Duration> = (0..9)
            .map(|n| {
                // Nothing that an earlier round left in the kernel shall answer.
                let path = mount.path(&if path.starts_with("many") { format!("{path}{n}") } else { path.to_owned() });
                forget_pages(&path);
                let start = Instant::now();
                mount::read_within(Duration::from_secs(20), &path).expect("read");
                start.elapsed()
            })
            .collect();
        times.sort();
        // The middle one: this machine may do other things meanwhile.
        assert!(times[4] < Duration::from_millis(100), "{path}: {times:?}");
    }
    assert!(stuck.iter_mut().all(|stuck| stuck.0.try_wait().expect("wait").is_none()), "they were to be stuck");
}

#[test]
fn more_than_the_lane_holds_still_delays_no_other_lane() {
    let mount = Served::new("");
    let stuck: Vec<Stuck> = (0..200).map(|n| Stuck::start("cat", mount.path(&format!("dead/r{n}")))).collect();
    wait_for("128 reads to hang", Duration::from_secs(60), || (mount.calls("read stuck") >= 128).then_some(()));
    for _ in 0..5 {
        forget_pages(&mount.path("big"));
        mount::read_within(Duration::from_secs(5), &mount.path("big")).expect("read");
        forget_pages(&mount.path("dead/cached"));
        mount::read_within(Duration::from_secs(5), &mount.path("dead/cached")).expect("read");
    }
    assert!(mount.calls("read stuck") <= 128);
    drop(stuck);
}

#[test]
fn unmounting_does_not_wait_for_a_dead_remote() {
    let mut mount = Served::new("");
    let stuck: Vec<Stuck> = (0..4).map(|n| Stuck::start("cat", mount.path(&format!("dead/r{n}")))).collect();
    wait_for("reads to hang", Duration::from_secs(30), || (mount.calls("read stuck") >= 4).then_some(()));
    regfs::fuse::unmount(&mount.path(""), true).expect("detach");
    assert!(!mount::is_mounted(&mount.path("").canonicalize().expect("path")));
    drop(stuck);
    // Those who waited were killed: the last one gone, the mount ends.
    mount.wait();
}
