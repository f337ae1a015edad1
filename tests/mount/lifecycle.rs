//! `regfs mount` and `regfs umount` from the outside: how they begin, what they say, what they leave behind.

use crate::served::NOBODY;
use crate::support::content::Content;
use crate::support::fake::{Auth, Options, Registry};
use crate::support::image::Image;
use crate::support::mount::{self, is_mounted, isolate};
use crate::support::run::{Ran, command, run, run_within};
use crate::support::{regfs, wait_for};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// A home, a mountpoint and a source that needs no server.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("open it");
        for name in ["mnt", "home"] {
            fs::create_dir(directory.path().join(name)).expect("create");
        }
        let image = Image::new([Content::random(7, 100_000)], "linux/amd64");
        image.write_layout(&directory.path().join("layout"), "v1");
        Place { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn point(&self) -> PathBuf {
        self.path("mnt")
    }

    fn source(&self) -> String {
        format!("oci:{}", self.path("layout").display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(regfs());
        isolate(&mut command, &self.path("home"));
        command.args(arguments);
        command
    }

    /// `regfs mount OPTIONS SOURCE MOUNTPOINT`, to its end.
    fn mount(&self, options: &[&str]) -> Ran {
        run_within(LIMIT, self.command(&["mount"]).args(options).arg(self.source()).arg(self.point()))
    }

    fn umount(&self, options: &[&str]) -> Ran {
        run_within(LIMIT, self.command(&["umount"]).args(options).arg(self.point()))
    }

    /// The process that serves the mount.
    fn daemon(&self) -> Option<u32> {
        let point = self.point();
        fs::read_dir("/proc").expect("proc").flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            let is_ours = words.clone().any(|word| word == b"mount")
                && words.any(|word| word == point.as_os_str().as_encoded_bytes());
            let is_regfs = fs::read_link(entry.path().join("exe")).ok()? == regfs();
            (is_ours && is_regfs).then_some(pid)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        while is_mounted(&self.point()) {
            if !command("umount").arg("-l").arg(self.point()).status().is_ok_and(|status| status.success()) {
                break;
            }
        }
    }
}

#[test]
fn the_background_begins_when_the_mount_is_usable() {
    let place = Place::new();
    let start = Instant::now();
    let mounted = place.mount(&[]).ok();
    assert_eq!((mounted.text().as_str(), mounted.err.as_str()), ("", ""), "silence is success");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(place.point().join("tags/v1/manifest.json").exists());
    let daemon = place.daemon().expect("a process that stays");
    assert_eq!(fs::read_to_string(format!("/proc/{daemon}/comm")).expect("comm"), "regfs\n", "as killall finds it");
    let stat = fs::read_to_string(format!("/proc/{daemon}/stat")).expect("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    assert_eq!(fields[3], daemon.to_string(), "a session of its own");
    for fd in 0..3 {
        let target = fs::read_link(format!("/proc/{daemon}/fd/{fd}")).expect("a stream");
        assert_eq!(target, Path::new("/dev/null"));
    }
    assert_eq!(fs::read_link(format!("/proc/{daemon}/cwd")).expect("cwd"), Path::new("/"));
    place.umount(&[]).ok();
    assert!(!is_mounted(&place.point()));
    assert!(place.daemon().is_none(), "umount waits for the process");
}

#[test]
fn nothing_of_the_caller_stays_open() {
    let place = Place::new();
    let lock = place.path("lock");
    // $(…) ends with the last writer of its pipe; so do a pipe and a lock.
    let script = r#"exec 9>"$4"; flock 9; said=$("$1" mount "$2" "$3" 2>&1); "$1" umount "$3"
        "$1" mount "$2" "$3" 2>&1 | cat; exec 9>&-; flock -w 5 "$4" true && echo "free$said""#;
    let mut shell = command("bash");
    isolate(&mut shell, &place.path("home"));
    shell.args(["-c", script, "sh"]).arg(regfs()).arg(place.source()).arg(place.point()).arg(&lock);
    let ran = run_within(LIMIT, &mut shell).ok();
    assert_eq!(ran.text().trim(), "free");
    assert!(is_mounted(&place.point()));
}

#[test]
fn a_second_mount_and_a_bad_mountpoint_are_refused() {
    let place = Place::new();
    place.mount(&[]).ok();
    let second = place.mount(&[]).failed();
    assert!(second.err.contains("in use") && second.code == Some(1), "{}", second.err);
    place.umount(&[]).ok();

    let refused = |point: &Path| {
        let ran = run_within(LIMIT, place.command(&["mount"]).arg(place.source()).arg(point)).failed();
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        ran.err
    };
    assert!(refused(&place.path("none")).contains("does not exist"));
    fs::write(place.path("file"), "").expect("file");
    assert!(refused(&place.path("file")).contains("not a directory"));
    fs::write(place.point().join("file"), "").expect("file");
    assert!(refused(&place.point()).contains("not empty"));
    place.mount(&["-o", "nonempty"]).ok();
    let names: Vec<_> = fs::read_dir(place.point()).expect("list").map(|e| e.expect("entry").file_name()).collect();
    assert!(names.iter().any(|name| name == "tags") && !names.iter().any(|name| name == "file"), "{names:?}");
}

#[test]
fn of_those_who_mount_at_once_one_succeeds() {
    let place = Place::new();
    for is_dead in [false, true] {
        if is_dead {
            let daemon = place.daemon().expect("a process that stays").to_string();
            run(command("kill").args(["-KILL", &daemon])).ok();
            wait_for("its end", LIMIT, || place.daemon().is_none().then_some(()));
        }
        let ran: Vec<Ran> = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| place.mount(&[]))).collect();
            runs.into_iter().map(|run| run.join().expect("run")).collect()
        });
        let refused: Vec<&str> = ran.iter().filter(|ran| ran.code != Some(0)).map(|ran| ran.err.as_str()).collect();
        assert_eq!(refused.len(), 5, "{refused:?}");
        assert!(refused.iter().all(|words| words.contains("in use")), "{refused:?}");
        let table = fs::read_to_string("/proc/self/mountinfo").expect("table");
        let point = place.point().display().to_string();
        assert_eq!(table.lines().filter(|line| line.split(' ').nth(4) == Some(&point)).count(), 1, "{table}");
    }
    place.umount(&[]).ok();
    assert!(!is_mounted(&place.point()) && place.daemon().is_none());
}

#[test]
fn options_are_understood_or_refused_by_name() {
    let place = Place::new();
    for (options, words) in [
        ("allow_othr", "-o allow_othr: no such option"),
        ("rw", "-o rw: writing is not supported by this version"),
        ("uid=me", "-o uid"),
        ("timeout=soon", "-o timeout"),
    ] {
        let ran = place.mount(&["-o", options]).failed();
        assert!(ran.err.contains(words), "{options}: {}", ran.err);
        assert!(!is_mounted(&place.point()));
    }
    let ran = place.mount(&["-o", "reconnect,uid=7,gid=8,umask=077", "-o", "metadata_ttl=5"]).ok();
    assert!(ran.err.contains("-o reconnect has no meaning"), "{}", ran.err);
    let stat = run(command("stat").args(["-c", "%u %g %a"]).arg(place.point().join("tags/v1/digest"))).ok();
    assert_eq!(stat.text().trim(), "7 8 400");
}

#[test]
fn the_cause_is_told() {
    let place = Place::new();
    let mount = |source: &str, options: &[&str]| {
        let mut command = place.command(&["mount", "--timeout", "5"]);
        run_within(LIMIT, command.args(options).arg(source).arg(place.point()))
    };
    let host = mount("no-such-host.invalid", &[]).failed();
    assert!(host.err.contains("no-such-host.invalid") && host.code == Some(5), "{}", host.err);
    let closed = mount("127.0.0.1:1", &[]).failed();
    assert!(closed.err.contains("127.0.0.1:1"), "{}", closed.err);
    let auth = Options { auth: Auth::Basic { user: "u".into(), password: "p".into() }, ..Options::default() };
    let fake = Registry::with(auth);
    let refused = mount(&fake.host(), &[]).failed();
    assert_eq!(refused.code, Some(4), "{}", refused.err);
    assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
    assert!(!is_mounted(&place.point()) && place.daemon().is_none());
    mount("127.0.0.1:1", &["--offline"]).ok();
    assert!(is_mounted(&place.point()));
}

#[test]
fn signals_do_what_they_say() {
    let place = Place::new();
    let log = place.path("log");
    let fake = Registry::start();
    fake.put("a/b", "v1", &Image::new([Content::random(1, 1000)], "linux/amd64"));
    let start = place
        .command(&["mount", "--metadata-ttl", "1h", "--log-file"])
        .arg(&log)
        .arg(fake.host())
        .arg(place.point())
        .output()
        .expect("run");
    assert!(start.status.success(), "{start:?}");
    let daemon = place.daemon().expect("a process that stays").to_string();
    let kill = |signal: &str| drop(run(command("kill").args([&format!("-{signal}"), &daemon])).ok());
    let logged = |words: &str| {
        wait_for(words, LIMIT, || fs::read_to_string(&log).ok().filter(|text| text.contains(words)));
    };
    logged("is mounted at");
    kill("USR1");
    logged("status: {");
    kill("USR2");
    logged("logging at level DEBUG");
    kill("USR2");
    logged("logging at level INFO");

    let tags = place.point().join("a/b/tags");
    let count = || fs::read_dir(&tags).expect("list").count();
    assert_eq!(count(), 1);
    fake.put("a/b", "v2", &Image::new([Content::random(2, 1000)], "linux/amd64"));
    assert_eq!(count(), 1, "believed for an hour");
    kill("HUP");
    wait_for("the new tag", LIMIT, || (count() == 2).then_some(()));
    assert!(is_mounted(&place.point()), "HUP does not end it");

    for signal in ["TERM", "INT"] {
        if !is_mounted(&place.point()) {
            assert!(run_within(LIMIT, place.command(&["mount"]).arg(fake.host()).arg(place.point())).code == Some(0));
        }
        // In use: it goes all the same.
        let open = fs::File::open(place.point().join("a/b/tags/v1/digest")).expect("open");
        let daemon = place.daemon().expect("a process that stays").to_string();
        run(command("kill").args([&format!("-{signal}"), &daemon])).ok();
        wait_for("its end", LIMIT, || place.daemon().is_none().then_some(()));
        assert!(!is_mounted(&place.point()), "{signal}");
        drop(open);
    }
}

#[test]
fn a_supervisor_is_told() {
    let place = Place::new();
    let socket = place.path("notify");
    let listener = UnixDatagram::bind(&socket).expect("bind");
    listener.set_read_timeout(Some(LIMIT)).expect("timeout");
    let mut child = place
        .command(&["mount", "-f"])
        .arg(place.source())
        .arg(place.point())
        .env("NOTIFY_SOCKET", &socket)
        .spawn()
        .expect("run");
    let receive = || {
        let mut buf = [0; 1000];
        let got = listener.recv(&mut buf).expect("a message");
        String::from_utf8_lossy(&buf[..got]).into_owned()
    };
    let ready = receive();
    assert!(ready.starts_with("READY=1\n") && ready.contains(&format!("MAINPID={}\n", child.id())), "{ready}");
    assert!(place.point().join("tags").exists());
    run(command("kill").arg(child.id().to_string())).ok();
    assert_eq!(receive(), "STOPPING=1");
    let status = wait_for("its end", LIMIT, || child.try_wait().expect("wait"));
    assert!(status.success(), "{status}");
    assert!(!is_mounted(&place.point()));
}

#[test]
fn umount_takes_away_only_what_is_ours() {
    let place = Place::new();
    let none = place.umount(&[]).failed();
    assert!(none.err.contains("is not a mount of regfs"), "{}", none.err);
    run(command("mount").args(["-t", "tmpfs", "none"]).arg(place.point())).ok();
    assert!(place.umount(&["--lazy"]).failed().err.contains("is not a mount of regfs"));
    assert!(is_mounted(&place.point()));
}

#[test]
fn umount_of_dead_and_busy_mounts() {
    let place = Place::new();
    let kill = || {
        let daemon = place.daemon().expect("a process that stays").to_string();
        run(command("kill").args(["-KILL", &daemon])).ok();
        wait_for("its end", LIMIT, || place.daemon().is_none().then_some(()));
        // Until the kernel has seen it, it says ECONNABORTED.
        let error = || fs::read_dir(place.point()).expect_err("dead").raw_os_error();
        wait_for("ENOTCONN", LIMIT, || (error() == Some(libc::ENOTCONN)).then_some(()));
    };
    place.mount(&[]).ok();
    kill();
    place.umount(&[]).ok();
    assert!(!is_mounted(&place.point()));

    place.mount(&[]).ok();
    kill();
    place.mount(&[]).ok();
    let open = fs::File::open(place.point().join("tags/v1/digest")).expect("mounting again mends it");
    let start = Instant::now();
    let busy = place.umount(&[]).failed();
    assert!(busy.err.contains("in use") && busy.err.contains("--lazy") && busy.code == Some(1), "{}", busy.err);
    assert!(start.elapsed() < Duration::from_secs(2), "nothing is stuck: {:?}", start.elapsed());
    place.umount(&["--lazy"]).ok();
    assert!(!is_mounted(&place.point()));
    assert!(place.daemon().is_some(), "somebody still uses it");
    drop(open);
    wait_for("its end", LIMIT, || place.daemon().is_none().then_some(()));
}

#[test]
fn a_user_mounts_and_unmounts() {
    fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).expect("open /dev/fuse to all");
    let place = Place::new();
    for name in ["mnt", "home"] {
        std::os::unix::fs::chown(place.path(name), Some(NOBODY), Some(NOBODY)).expect("give away");
    }
    let as_nobody = |arguments: &[&OsStr]| {
        let mut command = place.command(&[]);
        run_within(LIMIT, command.args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/"))
    };
    let (source, point) = (place.source(), place.point());
    let mount = ["mount".as_ref(), source.as_ref(), point.as_os_str()];
    as_nobody(&mount).ok();
    let read = run(command("cat").arg(point.join("tags/v1/digest")).uid(NOBODY).gid(NOBODY)).ok();
    assert!(read.text().starts_with("sha256:"));
    let umount = ["umount".as_ref(), point.as_os_str()];
    as_nobody(&umount).ok();
    assert!(!is_mounted(&point) && place.daemon().is_none());
    // After a crash, too.
    as_nobody(&mount).ok();
    run(command("kill").args(["-KILL", &place.daemon().expect("a process").to_string()])).ok();
    wait_for("its end", LIMIT, || place.daemon().is_none().then_some(()));
    as_nobody(&mount).ok();
    assert!(mount::is_mounted(&point));
    as_nobody(&umount).ok();
    // What root mounted for itself is not a user's to see.
    place.mount(&[]).ok();
    let status = as_nobody(&["status".as_ref()]).ok();
    assert!(!status.text().contains(&source) && status.err.contains("of other users"), "{}", status.err);
    assert_eq!(as_nobody(&["status".as_ref(), point.as_os_str()]).failed().code, Some(4));
    place.umount(&[]).ok();
    // What root mounted is not a user's to unmount.
    place.mount(&["-o", "allow_other"]).ok();
    let refused = as_nobody(&umount).failed();
    assert!(is_mounted(&point) && !refused.err.is_empty(), "{}", refused.err);
}

#[test]
fn auto_unmount_leaves_nothing_behind() {
    fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).expect("open /dev/fuse to all");
    for user in [0, NOBODY] {
        let place = Place::new();
        for name in ["mnt", "home"] {
            std::os::unix::fs::chown(place.path(name), Some(user), Some(user)).expect("give away");
        }
        let mount = || {
            let mut command = place.command(&["mount", "-o", "auto_unmount"]);
            command.arg(place.source()).arg(place.point()).uid(user).gid(user).current_dir("/");
            run_within(LIMIT, &mut command).ok();
        };
        let watchers = || {
            let point = place.point();
            let lines = fs::read_dir("/proc").expect("proc").flatten();
            let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            let is_one = |line: &Vec<u8>| {
                let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
                words.get(1) == Some(&&b"watch-a-mount"[..]) && words.contains(&point.as_os_str().as_encoded_bytes())
            };
            lines.filter(is_one).count()
        };
        mount();
        let mut other = command("cat");
        other.arg(place.point().join("tags/v1/digest")).uid(NOBODY - user).gid(NOBODY - user);
        assert!(user != 0 || run(&mut other).failed().err.contains("Permission denied"), "nobody else is let in");
        assert_eq!(watchers(), 1);
        run(command("kill").args(["-KILL", &place.daemon().expect("a process").to_string()])).ok();
        wait_for("its unmounting", LIMIT, || (!is_mounted(&place.point())).then_some(()));
        wait_for("the end of the watcher", LIMIT, || (watchers() == 0).then_some(()));

        // What is unmounted and mounted anew is left alone.
        mount();
        place.umount(&[]).ok();
        place.mount(&[]).ok();
        wait_for("the end of the watcher", LIMIT, || (watchers() == 0).then_some(()));
        assert!(place.point().join("tags").exists());
    }
}

#[test]
fn mount_of_util_linux_finds_us() {
    let place = Place::new();
    let helper = place.path("mount.regfs");
    std::os::unix::fs::symlink(regfs(), &helper).expect("link");
    let mut command = Command::new(&helper);
    isolate(&mut command, &place.path("home"));
    let ran = run_within(
        LIMIT,
        command.arg(place.source()).arg(place.point()).args([
            "-n",
            "-o",
            "rw,noauto,user,x-systemd.automount,umask=022",
        ]),
    )
    .ok();
    assert!(ran.err.lines().count() == 1 && ran.err.contains("mounted read-only"), "{}", ran.err);
    assert!(place.point().join("tags").exists());
    place.umount(&[]).ok();
    // As mount.fuse3 calls the program of a type.
    let (source, point) = (place.source(), place.point());
    let mut command = place.command(&[&source, point.to_str().expect("UTF-8"), "-o", "rw,dirsync,dev,suid"]);
    let ran = run_within(LIMIT, &mut command).ok();
    assert!(ran.err.lines().count() == 1 && ran.err.contains("mounted read-only"), "{}", ran.err);
    assert!(place.point().join("tags").exists());
    place.umount(&[]).ok();
}
