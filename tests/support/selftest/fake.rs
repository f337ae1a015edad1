//! The fake registry, seen by curl and skopeo: clients that know nothing of this project.

use crate::support::content::Content;
use crate::support::fake::{Auth, Fault, Options, Paging, Ranges, Redirect, Registry, Rule, Tokens, What};
use crate::support::http::Cut;
use crate::support::image::Image;
use crate::support::run::{Ran, command, run};
use std::time::Duration;

fn curl(args: &[&str]) -> Ran {
    run(command("curl").args(["-s", "-m", "20"]).args(args))
}

fn sample() -> Image {
    Image::index(["linux/amd64", "linux/arm64/v8"].map(|platform| {
        Image::new([Content::random(1, 100_000), Content::random(platform.len() as u64, 50_000)], platform)
    }))
}

#[test]
fn skopeo_copies_from_it() {
    let directory = tempfile::tempdir().expect("tempdir");
    let tokens = Tokens { user: Some(("me".into(), "p:w".into())), anonymous: false, ..Tokens::default() };
    for options in [
        Options::default(),
        Options { auth: Auth::Basic { user: "me".into(), password: "p:w".into() }, ..Options::default() },
        Options { auth: Auth::Bearer(tokens), redirect: Some(Redirect::default()), ..Options::default() },
    ] {
        let fake = Registry::with(options);
        let image = sample();
        fake.put("library/sample", "v1", &image);
        let to = directory.path().join(fake.host());
        run(command("skopeo")
            .args(["copy", "--all", "--src-tls-verify=false", "--src-creds", "me:p:w"])
            .arg(format!("docker://{}/library/sample:v1", fake.host()))
            .arg(format!("dir:{}", to.display())))
        .ok();
        assert_eq!(std::fs::read(to.join("manifest.json")).expect("manifest"), image.manifest);
        let layer = &image.children[1].layers()[1];
        assert_eq!(std::fs::read(to.join(layer.digest.encoded())).expect("layer"), layer.content.to_vec());
        fake.untag("library/sample", "v1");
        run(command("skopeo")
            .args(["inspect", "--tls-verify=false", "--creds", "me:p:w"])
            .arg(format!("docker://{}/library/sample:v1", fake.host())))
        .failed();
    }
}

#[test]
fn lists_in_pages() {
    let fake = Registry::start();
    let image = sample();
    for n in 0..25 {
        fake.put("a/b", &format!("t{n:02}"), &image);
    }
    fake.set(|options| options.page = 10);
    for paging in [Paging::Linked, Paging::Quay, Paging::Ecr, Paging::Unescaped] {
        fake.set(|options| options.paging = paging);
        let mut url = fake.url("/v2/a/b/tags/list?n=10");
        let (mut seen, mut pages) = (Vec::new(), 0);
        loop {
            let answer = curl(&["-i", &url]).ok().text();
            let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
            let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
            seen.extend(body["tags"].as_array().expect("tags").iter().map(|tag| tag.to_string()));
            pages += 1;
            let Some(link) = head.lines().find_map(|line| line.strip_prefix("Link: <")) else { break };
            let target = link.split_once('>').expect("link").0;
            url = if target.starts_with('/') { fake.url(target) } else { target.to_owned() };
        }
        assert_eq!((seen.len(), pages), (25, 3), "{paging:?}");
        assert!(seen.is_sorted());
    }
}

#[test]
fn serves_ranges_truly_or_not() {
    let fake = Registry::start();
    let content = Content::random(3, 1000);
    let digest = fake.blob("x", content.clone());
    let url = fake.url(&format!("/v2/x/blobs/{digest}"));
    let all = content.to_vec();
    assert_eq!(curl(&["-r", "10-19", &url]).ok().out, all[10..20]);
    assert_eq!(curl(&["-r", "900-5000", &url]).ok().out, all[900..]);
    // A 416 whose Content-Length lies: curl misses bytes (18).
    assert_eq!(curl(&["-r", "2000-3000", &url]).code, Some(18));
    fake.set(|options| options.ranges = Ranges::Ignored);
    assert_eq!(curl(&["-r", "10-19", &url]).ok().out, all);
    fake.set(|options| options.ranges = Ranges::Lying);
    assert_eq!(curl(&["-r", "10-19", &url]).ok().out, all[..10]);
}

#[test]
fn presigned_urls_expire() {
    let redirect = Redirect { uses: Some(1), ..Redirect::default() };
    let fake = Registry::with(Options { redirect: Some(redirect), ..Options::default() });
    let digest = fake.blob("x", "hello");
    let url = fake.url(&format!("/v2/x/blobs/{digest}"));
    let location = curl(&["-o", "/dev/null", "-w", "%{redirect_url}", &url]).ok().text();
    assert_eq!(curl(&[&location]).ok().text(), "hello");
    let expired = curl(&["-w", "%{http_code}", &location]).ok().text();
    assert!(expired.contains("Request has expired") && expired.ends_with("403"), "{expired}");
    assert_eq!(curl(&["-L", &url]).ok().text(), "hello");
    assert_eq!(fake.count(What::Object), 3);
}

#[test]
fn faults_strike_where_they_are_told_to() {
    let fake = Registry::start();
    let digest = fake.blob("x", Content::random(4, 100_000));
    let url = fake.url(&format!("/v2/x/blobs/{digest}"));
    fake.fault(Rule::on(What::Blob, Fault::TooMany(Some("3"))).skip(1).once());
    let code = || curl(&["-o", "/dev/null", "-w", "%{http_code}", &url]).text();
    assert_eq!([code(), code(), code()], ["200", "429", "200"]);
    fake.fault(Rule::any(Fault::Cut(5, Cut::Rst)));
    assert_eq!(curl(&["-o", "/dev/null", &url]).code, Some(56));
    fake.heal();
    fake.corrupt(&digest, 77);
    let wrong = curl(&["-r", "70-79", &url]).ok().out;
    assert_eq!(wrong[7] ^ 1, Content::random(4, 100_000).to_vec()[77]);
    fake.heal();
    fake.down();
    assert_eq!(curl(&[&url]).code, Some(7));
    fake.up();
    assert_eq!(code(), "200");
    fake.fault(Rule::on(What::Ping, Fault::Delay(Duration::from_secs(30))));
    assert_eq!(curl(&["-m", "1", &fake.url("/v2/")]).code, Some(28));
    fake.fault(Rule::on(What::Blob, Fault::Gzip));
    let answer = curl(&["-i", "--compressed", "-o", "/dev/null", "-w", "%header{content-encoding}", &url]).ok();
    assert_eq!(answer.text(), "gzip");
}

#[test]
fn weather_is_the_same_for_the_same_seed() {
    let codes = |seed: u64| -> Vec<String> {
        let fake = Registry::start();
        let digest = fake.blob("x", Content::random(4, 1_000_000));
        fake.weather(seed, 50);
        let url = fake.url(&format!("/v2/x/blobs/{digest}"));
        (0..12)
            .map(|_| curl(&["-o", "/dev/null", "-w", "%{exitcode} %{http_code} %{size_download}", &url]).text())
            .collect()
    };
    // Resets race with what was sent before them: only whether and how they end is compared.
    let kind =
        |all: Vec<String>| all.iter().map(|one| one[..one.rfind(' ').expect("a space")].to_owned()).collect::<Vec<_>>();
    let first = kind(codes(5));
    assert_eq!(first, kind(codes(5)));
    assert!(first.iter().any(|one| one != "0 200") && first.iter().any(|one| one == "0 200"), "{first:?}");
}
