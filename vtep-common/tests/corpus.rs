//! Replays the corpora of the fuzz targets.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use vtep_common::{
    abi::counter::Hook,
    testkit::{
        check,
        frames::{Sample, Side, World},
    },
};

const TARGETS: [&str; 4] = ["decide_port", "decide_uplink", "outer", "path_report"];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

/// Path and name of everything in a directory, by name.
fn entries(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path(), entry.file_name().into_string().unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn what_must_hold_holds_for_every_file_of_the_corpora() {
    let mut targets = Vec::new();
    for (directory, target) in entries(&corpus()) {
        let files = entries(&directory);
        assert!(files.len() >= 10, "{target} has {} files", files.len());
        for (file, _) in files {
            let input = fs::read(&file).unwrap();
            println!("{}", file.display());
            check::target(&target, &input);
        }
        targets.push(target);
    }
    assert_eq!(targets, TARGETS);
}

#[test]
fn an_input_stands_for_the_sample_that_it_was_made_of() {
    let world = World::default();
    for seed in 0..2000 {
        let sample = world.sample(seed);
        let (target, input) = check::input(&sample);
        check::target(target, &input);
        match sample.side {
            Side::Port(_) => {
                let (meta, frame) = check::port_input(&input).unwrap();
                assert_eq!(
                    (meta.ifindex, meta.tag),
                    (sample.meta.ifindex, sample.meta.tag)
                );
                assert_eq!(meta.gso_size == 0, sample.meta.gso_size == 0);
                assert_eq!(frame, sample.frame);
            }
            Side::Uplink(_) | Side::Tunnel(_) => assert_eq!(input[1..], sample.frame),
        }
    }
}

/// `VTEP_BLESS=1` in the environment makes the corpora anew.
#[test]
fn every_target_has_a_corpus() {
    if std::env::var_os("VTEP_BLESS").is_some() {
        write_the_corpora();
    }
    for target in TARGETS {
        let inputs = fs::read_dir(corpus().join(target)).unwrap().count();
        assert!(inputs >= 10, "{target}: {inputs}");
    }
}

fn write_the_corpora() {
    let world = World::default();
    let mut shortest: BTreeMap<(&str, String), Sample> = BTreeMap::new();
    for sample in (0..100_000).map(|seed| world.sample(seed)) {
        if sample.hook() == Hook::Tunnel {
            continue;
        }
        let reason = sample.reason(&sample.decide(&world.tables));
        let key = (sample.hook().name(), reason.name().to_owned());
        let known = shortest.get(&key);
        if known.is_none_or(|known| sample.frame.len() < known.frame.len()) {
            shortest.insert(key, sample);
        }
    }
    let reports = corpus().join("path_report");
    fs::create_dir_all(&reports).unwrap();
    for (name, input) in check::path_reports() {
        fs::write(reports.join(name), input).unwrap();
    }
    for ((hook, reason), sample) in shortest {
        let (target, input) = check::input(&sample);
        let mut targets = vec![target];
        if hook == Hook::Uplink.name() {
            targets.push("outer");
        }
        for target in targets {
            let directory = corpus().join(target);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(format!("{hook}-{reason}")), &input).unwrap();
        }
    }
}
