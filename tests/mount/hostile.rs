//! Registries that mean harm: what they send is refused with a clear error or shown harmless, within bounds, and the
//! mount goes on.

use crate::support::content::Content;
use crate::support::fake::{Options, Paging, Registry};
use crate::support::image::{Blob, Image, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::support::mount::{Mount, Plan, within};
use crate::support::run::{command, run_within};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Mounts it, with one image in it that is as it should be.
fn mount(fake: &Registry) -> Mount {
    fake.put("good/image", "v1", &Image::new([Content::from("fine")], "linux/amd64"));
    Plan::new(&fake.host()).args(&["--timeout", "5", "--metadata-ttl", "1", "--platform", "linux/amd64"]).mount()
}

/// Looks at everything below a path, following nothing, as deep as 12 and as much as 20,000 names; reads every file
/// that is small. Returns the names seen.
fn walk(mount: &Mount, below: &str) -> Vec<String> {
    let root = mount.path(below);
    within(LIMIT, "a walk through hostile names", move || {
        let mut seen = Vec::new();
        let mut todo = vec![(root.clone(), 0)];
        while let Some((directory, depth)) = todo.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                check(&path);
                seen.push(path.strip_prefix(&root).expect("below").to_string_lossy().into_owned());
                let Ok(meta) = path.symlink_metadata() else { continue };
                if meta.is_dir() && depth < 12 && seen.len() < 20_000 {
                    todo.push((path, depth + 1));
                } else if meta.is_file() && meta.len() < 20_000_000 {
                    let _ = std::fs::read(path);
                }
            }
        }
        seen
    })
}

/// No name leads out, and none speaks to the terminal.
fn check(path: &Path) {
    let name = path.file_name().expect("a name").as_bytes();
    assert!(name != b"." && name != b".." && !name.contains(&b'/') && name.len() <= 255, "{path:?}");
    assert!(!name.iter().any(|byte| *byte < 0x20 || *byte == 0x7f), "a control character: {path:?}");
}

/// The mount still works, and what it says of itself is fit for a terminal.
#[track_caller]
fn is_well(mount: &Mount) {
    assert!(mount.text("good/image/tags/v1/digest").starts_with("sha256:"));
    for file in [".regfs/errors", ".regfs/status", ".regfs/requests", ".regfs/metrics"] {
        let text = mount.text(file);
        let bad = text.chars().find(|&c| c.is_control() && c != '\n' && c != '\t');
        assert_eq!(bad, None, "{file}: {text:?}");
    }
    assert!(!mount.log().contains("panicked"), "{}", mount.log());
}

fn manifest(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let image = Image::new([Content::from("layer")], "linux/amd64");
    let mut value: Value = serde_json::from_slice(&image.manifest).expect("JSON");
    change(&mut value);
    value.to_string().into_bytes()
}

/// Every manifest is looked at as a tag; none may do more than fail.
fn harmless(manifests: Vec<(&str, &str, Vec<u8>)>) -> (Registry, Mount) {
    let fake = Registry::start();
    let image = Image::new([Content::from("layer")], "linux/amd64");
    fake.put_untagged("evil", &image);
    for (tag, media_type, bytes) in &manifests {
        let digest = fake.manifest("evil", media_type, bytes.clone());
        fake.tag("evil", tag, &digest);
    }
    fake.put("evil", "good", &image);
    let mount = mount(&fake);
    let seen = walk(&mount, "evil/tags");
    for (tag, _, bytes) in &manifests {
        assert!(seen.iter().any(|name| name == tag), "{tag} is not listed");
        match mount.read(&format!("evil/tags/{tag}/manifest.json")) {
            Ok(shown) => assert!(shown == *bytes, "{tag}: other bytes"),
            Err(error) => assert!(matches!(error.raw_os_error(), Some(libc::EIO | libc::EFBIG)), "{tag}: {error}"),
        }
    }
    // The walk does see an image that is well.
    assert!(seen.iter().any(|name| name == "good/config.json"), "{seen:?}");
    let mut xattrs = command("getfattr");
    xattrs.args(["-d", "-m", "-", "-R", "-P"]).arg(mount.path("evil/tags"));
    run_within(LIMIT, &mut xattrs);
    is_well(&mount);
    (fake, mount)
}

#[test]
fn manifests_of_odd_shapes() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let (_fake, mount) = harmless(vec![
        ("empty", OCI_MANIFEST, Vec::new()),
        ("text", OCI_MANIFEST, b"not json".to_vec()),
        ("null", OCI_MANIFEST, b"null".to_vec()),
        ("array", OCI_MANIFEST, b"[1,2,3]".to_vec()),
        ("deep", OCI_MANIFEST, deep.into_bytes()),
        ("deep-object", OCI_MANIFEST, deep_object.into_bytes()),
        ("latin", OCI_MANIFEST, vec![b'{', b'"', 0xff, 0xfe, b'"', b':', b'1', b'}']),
        ("both", OCI_MANIFEST, manifest(|m| m["manifests"] = json!([]))),
        ("neither", OCI_MANIFEST, b"{\"schemaVersion\":2}".to_vec()),
        ("other-type", OCI_MANIFEST, manifest(|m| m["mediaType"] = json!(OCI_INDEX))),
        ("version", OCI_MANIFEST, manifest(|m| m["schemaVersion"] = json!(99))),
        ("strings", OCI_MANIFEST, manifest(|m| m["layers"] = json!("none"))),
        ("null-layers", OCI_MANIFEST, manifest(|m| m["layers"] = json!(null))),
        ("nul", OCI_MANIFEST, manifest(|m| m["annotations"] = json!({"a\u{0}b": "c\u{0}d"}))),
    ]);
    // A document with both faces is refused (CVE-2021-41190), and so is one whose type is another.
    for tag in ["both", "other-type"] {
        let error = mount.read(&format!("evil/tags/{tag}/config.json")).expect_err("refused");
        assert!(matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::ENOENT)), "{tag}: {error}");
    }
}

#[test]
fn descriptors_off_grammar() {
    let descriptor = |change: Value| {
        manifest(|m| {
            for (key, value) in change.as_object().expect("an object") {
                m["layers"][0][key] = value.clone();
            }
        })
    };
    let many: Vec<Value> =
        (0..20_000).map(|n| json!({"mediaType": OCI_LAYER, "digest": format!("sha256:{n:064x}"), "size": 1})).collect();
    harmless(vec![
        ("path", OCI_MANIFEST, descriptor(json!({"digest": "sha256:../../../etc/passwd"}))),
        ("dots", OCI_MANIFEST, descriptor(json!({"digest": ".."}))),
        ("slash", OCI_MANIFEST, descriptor(json!({"digest": "a:b/c"}))),
        ("none", OCI_MANIFEST, descriptor(json!({"digest": ""}))),
        ("long", OCI_MANIFEST, descriptor(json!({"digest": format!("x:{}", "y".repeat(10_000))}))),
        ("unknown", OCI_MANIFEST, descriptor(json!({"digest": "blake9:abcdef"}))),
        ("upper", OCI_MANIFEST, descriptor(json!({"digest": format!("SHA256:{}", "A".repeat(64))}))),
        ("negative", OCI_MANIFEST, descriptor(json!({"size": -1}))),
        ("huge", OCI_MANIFEST, descriptor(json!({"size": u64::MAX}))),
        ("float", OCI_MANIFEST, descriptor(json!({"size": 1e300}))),
        ("text", OCI_MANIFEST, descriptor(json!({"size": "5"}))),
        ("type", OCI_MANIFEST, descriptor(json!({"mediaType": "\u{1b}[31m/../../x\n"}))),
        ("many", OCI_MANIFEST, manifest(|m| m["layers"] = json!(many))),
    ]);
}

#[test]
fn platforms_that_are_no_names() {
    let image = Image::new([Content::from("layer")], "linux/amd64");
    let names =
        ["..", "../../etc", "a/b", "", "\u{1b}[2J", "x".repeat(5000).as_str(), "a\u{0}b", "\n", "."].map(str::to_owned);
    let mut entries = Vec::new();
    for name in &names {
        for field in ["os", "architecture", "variant"] {
            let mut entry = image.descriptor();
            entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
            entry["platform"][field] = json!(name);
            entries.push(entry);
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    harmless(vec![("index", OCI_INDEX, index.to_string().into_bytes())]);
}

#[test]
fn indexes_deep_wide_and_leading_to_themselves() {
    let fake = Registry::start();
    let mut inner = Image::new([Content::from("layer")], "linux/amd64");
    for _ in 0..50 {
        inner = Image::index([inner]);
    }
    fake.put("evil", "deep", &inner);
    // Two of each level: 2^20 images by way of 20 manifests.
    let mut bomb = Image::new([Content::from("layer")], "linux/amd64");
    for level in 0..20 {
        let entries = [bomb.descriptor(), bomb.descriptor()].map(|mut entry| {
            entry["platform"] = json!({"os": "linux", "architecture": format!("a{level}")});
            entry
        });
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        let mut next = Image::raw(OCI_INDEX, manifest.to_string());
        next.children = vec![bomb];
        bomb = next;
    }
    fake.put("evil", "bomb", &bomb);
    // One that claims to hold itself: its bytes cannot have that digest.
    let own = format!("sha256:{}", "1".repeat(64));
    let cyclic = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_INDEX, "digest": own, "size": 300, "platform": {"os": "linux", "architecture": "amd64"}}]});
    fake.manifest_as("evil", &own, OCI_INDEX, cyclic.to_string());
    fake.tag("evil", "cyclic", &own.parse().expect("a digest"));
    let mount = mount(&fake);
    walk(&mount, "evil");
    assert!(mount.read("evil/tags/cyclic/config.json").is_err());
    let start = Instant::now();
    let _ = mount.read("evil/tags/bomb/config.json");
    let _ = mount.read("evil/tags/deep/config.json");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    is_well(&mount);
}

#[test]
fn manifests_and_configs_over_their_limits() {
    let fake = Registry::start();
    let padded = |len: usize| manifest(|m| m["annotations"] = json!({"pad": "x".repeat(len)}));
    let image = Image::new([Content::from("layer")], "linux/amd64");
    fake.put_untagged("evil", &image);
    for (tag, len) in [("5mib", 5 << 20), ("20mib", 20 << 20)] {
        let digest = fake.manifest("evil", OCI_MANIFEST, padded(len));
        fake.tag("evil", tag, &digest);
    }
    // A config that would be parsed for its date.
    let config = Blob::new(OCI_CONFIG, Content::made(64 << 20, |_, buf| buf.fill(b' ')));
    let manifest = manifest(|m| m["config"] = config.descriptor());
    fake.blob_as("evil", config.digest.as_str(), config.content);
    let digest = fake.manifest("evil", OCI_MANIFEST, manifest);
    fake.tag("evil", "config", &digest);
    let mount = mount(&fake);
    // The spec asks for 4 MiB at least; a manifest of 5 is read or refused by name, one of 20 is refused.
    match mount.read("evil/tags/5mib/manifest.json") {
        Ok(bytes) => assert!(bytes.len() > 5 << 20),
        Err(error) => assert!(matches!(error.raw_os_error(), Some(libc::EFBIG | libc::EIO)), "{error}"),
    }
    let error = mount.read("evil/tags/20mib/manifest.json").expect_err("over any limit");
    assert!(matches!(error.raw_os_error(), Some(libc::EFBIG | libc::EIO)), "{error}");
    assert!(mount.error_with("20mib").contains("limit"), "the limit is not named: {}", mount.errors());
    walk(&mount, "evil/tags");
    is_well(&mount);
    let (_, peak) = mount.rss();
    assert!(peak < 400 << 20, "{peak} bytes of memory for hostile manifests");
}

#[test]
fn listings_without_end_and_with_bad_names() {
    for paging in [Paging::Endless, Paging::Looping, Paging::Foreign] {
        let fake = Registry::with(Options { paging, page: 50, ..Options::default() });
        for n in 0..60 {
            fake.put("evil", &format!("t{n}"), &Image::new([Content::from("x")], "linux/amd64"));
            fake.repository(&format!("r{n}"));
        }
        let mount = mount(&fake);
        let start = Instant::now();
        let tags = mount.try_list("evil/tags");
        let repositories = mount.try_list("");
        // Two listings, each with a limit of pages and of a minute.
        assert!(start.elapsed() < Duration::from_secs(125), "{paging:?}: {:?}", start.elapsed());
        for listing in [tags, repositories] {
            match listing {
                Ok(names) => assert!(names.len() >= 50, "{paging:?}: {}", names.len()),
                Err(error) => {
                    assert!(matches!(error.raw_os_error(), Some(libc::EIO | libc::EFBIG)), "{paging:?}: {error}")
                }
            }
        }
        assert!(fake.objects().requests().iter().all(|request| request.header("authorization").is_none()));
        is_well(&mount);
    }
    let fake = Registry::start();
    let image = Image::new([Content::from("x")], "linux/amd64");
    for name in ["../../etc", "..", ".", "", "a/b", "\u{1b}[31mred", "a\nb", &"x".repeat(400), "%2e%2e", "tab\t"] {
        fake.put("evil", name, &image);
        fake.repository(name);
        fake.repository(&format!("deep/{name}/x"));
    }
    let mount = mount(&fake);
    assert!(mount.list("evil/tags").is_empty(), "{:?}", mount.list("evil/tags"));
    walk(&mount, "");
    is_well(&mount);
}
