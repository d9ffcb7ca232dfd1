//! Tests of a small report with known figures.

use super::super::record::*;
use super::*;
use crate::measure::evaluation::Evaluation;
use crate::measure::metrics::Proportion;
use crate::measure::outcome::Outcomes;
use edge_runtime::ExitPolicy;
use edge_runtime::bundle::WeightFormat;

/// Evaluation of 10 sentences of two labels. Exits follow layers 0, 1 and 2 and get 5, 7 and
/// `right` of them right; the first `sure` sentences leave after layer 0.
fn evaluation(name: &str, right: usize, sure: usize, policy: &ExitPolicy) -> Evaluation {
    let says = |right: bool, sure: bool| {
        let logit = if sure { 9.0 } else { 0.1 };
        if right { vec![logit, -logit] } else { vec![-logit, logit] }
    };
    let outcomes = Outcomes {
        layers_total: 2,
        exits: vec![0, 1, 2],
        labels: vec!["a".into(), "b".into()],
        truth: vec![0; 10],
        logits: (0..10)
            .map(|i| vec![says(i < 5, i < sure), says(i < 7, false), says(i < right, false)])
            .collect(),
    };
    Evaluation::of(name, &outcomes, policy).unwrap()
}

fn record(id: &str, name: &str, step: MadeBy, from: Option<&str>) -> Record {
    let policy = ExitPolicy::confidence(0.9);
    Record {
        version: VERSION,
        id: id.into(),
        name: name.into(),
        step,
        from: from.map(String::from),
        data: Data { name: "dev.tsv".into(), sha256: "ab".repeat(32), sentences: 10 },
        parameters: Some(Parameters {
            all: 1_000_000,
            nonzero: 1_000_000,
            encoder: 400_000,
            encoder_nonzero: 400_000,
        }),
        bytes: Some(4_000_000),
        weights: Some(WeightFormat {
            precision: "fp32".into(),
            weight_bits: None,
            embedding_bits: None,
            four_bits: Vec::new(),
        }),
        figures: Figures::Measured(Box::new(Measured {
            evaluation: evaluation(name, 9, 4, &policy),
            speed: Some(Speed {
                processor: "a <fast> one".into(),
                day: "2026-01-31".into(),
                threads: 1,
                rounds: 5,
                full_depth: Pace { sentences_per_second: 100.0, p50_ms: 9.5, p99_ms: 20.25 },
                early_exit: Some(Pace { sentences_per_second: 250.0, p50_ms: 3.125, p99_ms: 19.0 }),
            }),
            curve: vec![
                CurvePoint { accuracy: 0.5, share: 0.0 },
                CurvePoint { accuracy: 0.75, share: 0.5 },
            ],
        })),
    }
}

/// Records of a teacher that is not here, its student, and three models made from the student: one
/// with special characters in its name, one with half of its encoder zero, one without speed.
fn records() -> Vec<Record> {
    let teacher = Record {
        parameters: Some(Parameters { all: 9_000_000, nonzero: 9_000_000, ..Default::default() }),
        bytes: Some(36_000_000),
        weights: None,
        figures: Figures::Stated(Stated {
            source: "Its card | says so <b>&</b>".into(),
            accuracy: Proportion::wilson(10, 10),
        }),
        ..record("teacher", "a large one", MadeBy::Teacher, None)
    };
    let student = record("student", "student", MadeBy::Distil, Some("teacher"));
    let mut int8 = record("int8", "a<b & c|d \"e\" 'f' *g*", MadeBy::Quantize, Some("student"));
    int8.bytes = Some(1_100_000);
    let mut sparse = record("sparse", "2:4", MadeBy::Prune, Some("student"));
    sparse.parameters.as_mut().unwrap().nonzero = 800_000;
    sparse.parameters.as_mut().unwrap().encoder_nonzero = 200_000;
    let mut small = record("small", "half the encoder", MadeBy::Quantize, Some("sparse"));
    small.parameters = Some(Parameters {
        all: 700_000,
        nonzero: 690_000,
        encoder: 150_000,
        encoder_nonzero: 100_000,
    });
    small.bytes = Some(800_000);
    let Figures::Measured(measured) = &mut small.figures else { unreachable!() };
    measured.speed = None;
    measured.curve.clear();
    measured.evaluation = evaluation("half", 8, 4, &ExitPolicy::Never);
    vec![small, sparse, int8, student, teacher]
}

fn report() -> Report {
    Report::new(records()).unwrap()
}

#[test]
fn models_stand_behind_what_they_were_made_from() {
    let ids: Vec<_> = report().records().iter().map(|r| r.id.clone()).collect();
    assert_eq!(ids, ["teacher", "student", "sparse", "small", "int8"]);
}

#[test]
fn the_table_holds_the_figures_of_the_records() {
    // Wilson's interval of 9 of 10 and of 8 of 10, as in statsmodels; 4 sentences leave before the
    // first of two layers, 6 compute both.
    let table = report().table();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .filter(|l| l.starts_with('|'))
        .map(|l| l.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let full = "90.00 % (59.6–98.2)";
    let early = ["", "", "250", "3.12 ms", "19.0 ms", full, "1.20 of 2"];
    let line = |name: &str, cells: [&str; 7]| {
        std::iter::once(name.to_string()).chain(cells.map(String::from)).collect::<Vec<_>>()
    };
    let expected = [
        line(
            "1. a large one †",
            ["9.00 M", "36.0 MB", "", "", "", "100.00 % (72.2–100.0)", "100.0 %"],
        ),
        line("2. student", ["1.00 M", "4.00 MB", "100", "9.50 ms", "20.2 ms", full, "2 of 2"]),
        line("↳ with exits", early),
        line(
            "3. 2:4",
            ["1.00 M, 20 % zero", "4.00 MB", "100", "9.50 ms", "20.2 ms", full, "2 of 2"],
        ),
        line("↳ with exits", early),
        line(
            "4. half the encoder",
            ["700 k, 1 % zero", "800 kB", "", "", "", "80.00 % (49.0–94.3)", "2 of 2"],
        ),
        line(
            "5. a\\<b \\& c\\|d \"e\" 'f' \\*g\\*",
            ["1.00 M", "1.10 MB", "100", "9.50 ms", "20.2 ms", full, "2 of 2"],
        ),
        line("↳ with exits", early),
    ];
    assert_eq!(lines[2..], expected);
    assert!(table.ends_with(
        "† 1. a large one was not measured here. Its card \\| says so \\<b\\>\\&\\</b\\>\n"
    ));
}

#[test]
fn every_drawing_is_an_svg_with_words() {
    let report = report();
    let flows = [report.flow(), report.narrow_flow()];
    let drawings: Vec<Drawing> = flows.into_iter().chain(report.charts()).collect();
    let ids: Vec<&str> = drawings.iter().map(|d| d.id).collect();
    assert_eq!(ids, ["flow", "narrow-flow", "size", "speed", "exits", "thresholds", "sparsity"]);
    for drawing in &drawings {
        let svg = roxmltree::Document::parse(&drawing.svg)
            .unwrap_or_else(|e| panic!("{}: {e}", drawing.id));
        let root = svg.root_element();
        let named = |name: &str| svg.descendants().find(|n| n.has_tag_name(name)).unwrap();
        let titled = format!(
            "{} {}",
            named("title").attribute("id").unwrap(),
            named("desc").attribute("id").unwrap()
        );
        assert_eq!(root.attribute("role"), Some("img"));
        assert_eq!(root.attribute("aria-labelledby"), Some(titled.as_str()));
        assert_eq!(named("title").text(), Some(drawing.title.as_str()));
        assert!(
            named("desc").text().unwrap().contains("a<b & c|d \"e\" 'f' *g*"),
            "{}",
            drawing.id
        );
        // Everything is within the frame.
        let frame: Vec<f64> =
            root.attribute("viewBox").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
        for node in svg.descendants() {
            let points = node.attribute("points").unwrap_or_default();
            let points: Vec<&str> = points.split([',', ' ']).filter(|n| !n.is_empty()).collect();
            for (i, (names, end)) in
                [(["x", "cx", "x1", "x2"], frame[2]), (["y", "cy", "y1", "y2"], frame[3])]
                    .into_iter()
                    .enumerate()
            {
                let own = names.iter().filter_map(|name| node.attribute(*name));
                for value in own.chain(points.iter().copied().skip(i).step_by(2)) {
                    assert!(
                        (0.0..=end).contains(&value.parse().unwrap()),
                        "{}: {node:?}",
                        drawing.id
                    );
                }
            }
        }
    }
}

/// Texts of a drawing.
fn texts(drawing: &Drawing) -> Vec<String> {
    let svg = roxmltree::Document::parse(&drawing.svg).unwrap();
    let texts = svg.descendants().filter(|n| n.has_tag_name("text"));
    texts
        .map(|n| n.text().unwrap_or_default().trim().to_string())
        .filter(|t| !t.is_empty())
        .collect()
}

#[test]
fn the_flow_has_a_box_for_every_model_and_for_exits_at_its_ends() {
    let texts = texts(&report().flow());
    for words in [
        "1. a large one",
        "9.00 M · 36.0 MB",
        "100.00 % right",
        "4. half the encoder",
        "700 k, 1 % zero · 800 kB",
        "80.00 % right",
        "5. with exits",
        "1.20 of 2 layers",
        "quantize",
        "exits",
    ] {
        assert!(texts.iter().any(|t| t == words), "{words}: {texts:?}");
    }
    // The student goes on, and the small one has no policy.
    for words in ["2. with exits", "4. with exits"] {
        assert!(!texts.iter().any(|t| t == words), "{words}");
    }
}

#[test]
fn charts_have_their_figures_in_words() {
    let charts = report().charts();
    let find = |id: &str| charts.iter().find(|d| d.id == id).unwrap();
    for (id, words) in [
        ("size", "1. a large one: 100 % at 36 MB; 2. student: 90 % at 4 MB;"),
        ("speed", "2. student: 90 % at 100, with exits 90 % at 250;"),
        ("exits", "2. student: 50 % at 0, 70 % at 1, 90 % at 2, with exits 90 % at 1.2;"),
        ("thresholds", "2. student: 50 % at 0 %, 75 % at 50 %;"),
        ("sparsity", "3. 2:4: 90 % at 50 %; 4. half the encoder: 80 % at 75 %;"),
    ] {
        assert!(find(id).description.contains(words), "{}", find(id).description);
    }
    let texts = texts(find("size"));
    for words in ["accuracy", "size of the file", "teacher", "quantize", "1 MB", "100 %", "5"] {
        assert!(texts.iter().any(|t| t == words), "{words}: {texts:?}");
    }
}

#[test]
fn points_are_where_the_figures_say() {
    let report = report();
    let charts = report.charts();
    let discs = |id: &str| -> Vec<(f64, f64)> {
        let drawing = charts.iter().find(|d| d.id == id).unwrap();
        let svg = roxmltree::Document::parse(&drawing.svg).unwrap();
        let number = |n: &roxmltree::Node, name| n.attribute(name).unwrap().parse::<f64>().unwrap();
        let circles = svg.descendants().filter(|n| n.has_tag_name("circle"));
        circles.map(|n| (number(&n, "cx"), number(&n, "cy"))).collect()
    };
    // Dots of the legend first: teacher, distil, prune, quantize.
    let size = &discs("size")[4..];
    let logarithm = |i: usize, bytes: f64| (size[i].0, f64::ln(bytes));
    let line = [36e6, 4e6, 4e6, 0.8e6, 1.1e6].into_iter().enumerate().map(|(i, b)| logarithm(i, b));
    let line: Vec<_> = line.collect();
    let slope = (line[3].0 - line[0].0) / (line[3].1 - line[0].1);
    for (x, log) in &line {
        assert!((x - line[0].0 - slope * (log - line[0].1)).abs() <= 2.0, "{line:?}");
    }
    // 100 %, 90 % three times, 80 %: equally far apart, and the better is higher.
    let (best, middle, worst) = (size[0].1, size[1].1, size[3].1);
    assert!((middle - best - (worst - middle)).abs() <= 2.0 && best < middle, "{size:?}");
    assert_eq!((size[2].1, size[4].1), (middle, middle));
    // Sparse: half of the student's encoder; small: three quarters of it.
    assert_eq!(
        report.records().iter().map(|r| report.pruned(r)).collect::<Vec<_>>(),
        [None, Some(0.0), Some(0.5), Some(0.75), Some(0.0)]
    );
}

#[test]
fn the_page_holds_everything_and_escapes_names() {
    let html = report().html();
    assert!(html.starts_with("<!DOCTYPE html>"));
    assert!(html.contains("5. a&lt;b &amp; c|d &quot;e&quot; 'f' *g*"), "{html}");
    assert!(!html.contains("<b>") && !html.contains("a<b"));
    assert!(html.contains("a &lt;fast&gt; one") && html.contains("2026-01-31"));
    for cell in [
        "<td>9.50 ms</td>",
        "<td>20.2 ms</td>",
        "<td>90.00 % (59.6–98.2)</td>",
        "<td>1.20 of 2</td>",
    ] {
        assert!(html.contains(cell), "{cell}");
    }
    assert_eq!(html.matches("<svg").count(), 7);
    for foreign in ["<script", "<link", "<img", "url(", "@import"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    let mut ids: Vec<&str> =
        html.split(" id=\"").skip(1).map(|t| t.split('"').next().unwrap()).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id is there once");
}

#[test]
fn markdown_has_its_pictures_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a report.md");
    report().write_markdown(&target).unwrap();
    let text = std::fs::read_to_string(&target).unwrap();
    assert!(text.contains(&report().table()));
    for id in ["flow", "size", "speed", "exits", "thresholds", "sparsity"] {
        assert!(text.contains(&format!("](a%20report-{id}.svg)")), "{id}");
        assert!(folder.path().join(format!("a report-{id}.svg")).exists());
    }
    // The exits get 5, 7 and 9 of 10 right, and 4, 0 and 6 of 10 leave.
    let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeezed.contains("| 2. student | 50.00 | 70.00 | 90.00 |"), "{text}");
    assert!(squeezed.contains("| ↳ leave here | 40.0 | 0.0 | 60.0 |"), "{text}");
}

#[test]
fn the_demo_gets_its_five_models() {
    let mut records = records();
    let error = Report::new(records.clone()).unwrap().demo().unwrap_err().to_string();
    assert!(error.contains("the early exits of the model `small`"), "{error}");
    records[0] = record("small", "half the encoder", MadeBy::Quantize, Some("sparse"));
    records[0].bytes = Some(800_000);
    let json = Report::new(records.clone()).unwrap().demo().unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let ids: Vec<_> =
        json["models"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["teacher", "student", "int8", "exits", "small"]);
    assert_eq!(json["models"][0]["sentencesPerSecond"], serde_json::Value::Null);
    assert_eq!(json["models"][3]["sentencesPerSecond"], 250.0);
    assert_eq!(
        (&json["models"][3]["share"], &json["models"][2]["bytes"]),
        (&0.6.into(), &1_100_000.into())
    );
    assert_eq!(
        (&json["models"][4]["share"], &json["models"][4]["bytes"]),
        (&0.6.into(), &800_000.into())
    );
    assert_eq!(json["exits"][2]["leave"], 6);
    assert_eq!((&json["measured"]["date"], &json["layers"]), (&"2026-01-31".into(), &2.into()));
    for missing in ["int8", "small"] {
        let without = records.iter().filter(|r| r.id != missing).cloned().collect();
        let error = Report::new(without).unwrap().demo().unwrap_err().to_string();
        assert!(error.contains(&format!("`{missing}`")), "{error}");
    }
}

#[test]
fn a_table_is_put_between_its_marks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("README.md");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write("before\n<!-- report:begin -->\n\nold\n\n<!-- report:end -->\nafter\n");
    for _ in 0..2 {
        replace_marked(&path, "| new |\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "before\n<!-- report:begin -->\n\n| new |\n\n<!-- report:end -->\nafter\n"
        );
    }
    for text in ["none", "<!-- report:end --> <!-- report:begin -->", "<!-- report:begin -->"] {
        write(text);
        let error = replace_marked(&path, "new").unwrap_err().to_string();
        assert!(error.contains("README.md") && error.contains("<!-- report:end -->"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "left as it was");
    }
}

/// Formats a record as JSON with numbers of twelve digits, because the last digit may change when
/// it is read.
fn rounded(record: &Record) -> serde_json::Value {
    fn walk(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(all) => all.iter_mut().for_each(walk),
            serde_json::Value::Object(all) => all.values_mut().for_each(walk),
            serde_json::Value::Number(n) if n.is_f64() => {
                *value = format!("{:.12}", n.as_f64().unwrap()).into();
            }
            _ => {}
        }
    }
    let mut value = serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap();
    walk(&mut value);
    value
}

#[test]
fn records_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    records().iter().for_each(|r| r.write(folder.path()).unwrap());
    std::fs::write(folder.path().join("notes.txt"), "no record").unwrap();
    let read = Report::read(folder.path()).unwrap();
    assert_eq!(read.records().len(), 5);
    for (read, written) in read.records().iter().zip(report().records()) {
        assert_eq!(rounded(read), rounded(written));
    }
}

#[test]
fn what_cannot_be_compared_is_named() {
    let fails = |change: &dyn Fn(&mut Vec<Record>), words: &str| {
        let mut all = records();
        change(&mut all);
        let error = Report::new(all).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    fails(&|all| all.clear(), "edge-distill measure");
    fails(&|all| all[1].data.sha256 = "cd".repeat(32), "figures of different sentences");
    fails(&|all| all[1].id = "int8".into(), "two measurements have the id `int8`");
    fails(&|all| all[1].from = Some("nobody".into()), "`sparse` was made from `nobody`");
    fails(&|all| all[1].from = Some("small".into()), "made from itself");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.json");
    let fails = |change: &dyn Fn(&mut serde_json::Value), words: &str| {
        let mut json = serde_json::to_value(&records()[3]).unwrap();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let error = Report::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("student.json") && error.contains(words), "{error}");
    };
    fails(&|json| json["version"] = 2.into(), "version 2; this program reads version 1");
    fails(&|json| *json = 7.into(), "not a saved measurement");
    fails(&|json| json["step"] = "shrink".into(), "shrink");
    fails(&|json| json["id"] = "../x".into(), "the id `../x`");
    fails(&|json| json["bytes"] = 0.into(), "1 or more");
    fails(&|json| json["parameters"]["nonzero"] = 2_000_000.into(), "than there are");
    fails(&|json| json["data"]["sentences"] = 11.into(), "on 10 sentences of 11");
    let of = |json: &mut serde_json::Value, path: &str, value: serde_json::Value| {
        *json.pointer_mut(&format!("/figures/measured/{path}")).unwrap() = value;
    };
    fails(&|json| of(json, "evaluation/exits/0/accuracy/value", 1.5.into()), "1.5");
    fails(&|json| of(json, "evaluation/early_exit/share", (-1).into()), "-1");
    fails(&|json| of(json, "evaluation/exits", Vec::<f64>::new().into()), "no exits");
    fails(&|json| of(json, "speed/full_depth/p50_ms", 0.into()), "above 0");
    fails(&|json| of(json, "curve/0/share", 2.into()), "the curve is 2");
    let error = Report::read(&folder.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
}
