//! Benchmark of the int8 linear layers of MiniLM-L6-H384, in GOP/s (a multiply and an add are two),
//! beside the processor's peak on registers alone:
//! `cargo bench -p edge-runtime --bench qlinear [ISA]`.
//!
//! The table shows the least of many times: other processes can only add time.

mod peak;

use edge_runtime::graph::Activation;
use edge_runtime::kernels::isa::Isa;
use edge_runtime::kernels::qlinear::{PackedWeights, Scratch, qlinear};
use std::time::{Duration, Instant};

/// Inputs, outputs and activation of the four linear layers of an encoder layer.
const SHAPES: [(usize, usize, Activation); 4] = [
    (384, 1152, Activation::Identity),
    (384, 384, Activation::Identity),
    (384, 1536, Activation::Gelu),
    (1536, 384, Activation::Identity),
];
const ENCODER_LAYERS: usize = 6;
const ROWS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

fn main() {
    // Cargo adds `--bench`.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    for isa in Isa::available() {
        let name = format!("{isa:?}");
        if wanted.is_empty() || wanted.iter().any(|w| name.eq_ignore_ascii_case(w)) {
            // `edge-export` writes weights of 7 bits.
            measure(isa, 63);
            measure(isa, 127);
        }
    }
}

/// Prints a table for an instruction set and weights in −`largest`…`largest`.
fn measure(isa: Isa, largest: i8) {
    let layers: Vec<_> =
        (0..ENCODER_LAYERS).flat_map(|_| SHAPES.map(|s| layer(isa, largest, s))).collect();
    print!("\n{isa:?}, weights to {largest}");
    if let Some(peak) = peak::operations(isa, largest) {
        let least = least_time(|| _ = std::hint::black_box(peak.run()));
        print!(", peak {:.0} GOP/s", peak.operations as f64 / least);
    }
    print!("\n{:>5}", "rows");
    for (inputs, outputs, activation) in SHAPES {
        print!("{:>16}", format!("{inputs}x{outputs} {}", activation.suffix()));
    }
    println!("{:>16}", "all layers");
    let x: Vec<f32> = (0..128 * 1536).map(|i| (i * 31 % 1001) as f32 / 500.0 - 1.0).collect();
    let mut out = vec![0.0; 128 * 1536];
    let mut scratch = Scratch::default();
    for rows in ROWS {
        let mut run = |(weights, activation): &(PackedWeights, Activation)| {
            let (x, out) = (&x[..rows * weights.inputs()], &mut out[..rows * weights.outputs()]);
            qlinear(x, weights, *activation, &mut scratch, out);
        };
        print!("{rows:>5}");
        for layer in &layers[..SHAPES.len()] {
            let operations = 2 * rows * layer.0.inputs() * layer.0.outputs();
            print!("{:>16.0}", operations as f64 / least_time(|| run(layer)));
        }
        println!("{:>13.3} ms", least_time(|| layers.iter().for_each(&mut run)) / 1e6);
    }
}

fn layer(
    isa: Isa,
    largest: i8,
    (inputs, outputs, activation): (usize, usize, Activation),
) -> (PackedWeights, Activation) {
    let range = 2 * largest as usize + 1;
    let values: Vec<u8> = (0..inputs * outputs)
        .map(|i| (i * 7919 % range) as i32 - i32::from(largest))
        .map(|w| w as i8 as u8)
        .collect();
    let (scales, bias) = (vec![1e-3; outputs], vec![0.5; outputs]);
    (PackedWeights::for_isa(isa, inputs, outputs, &values, &scales, &bias), activation)
}

/// Least of many times, in nanoseconds.
fn least_time(mut run: impl FnMut()) -> f64 {
    let end = Instant::now() + Duration::from_millis(100);
    let mut least = Duration::MAX;
    for times in 0.. {
        if times >= 10 && Instant::now() > end {
            break;
        }
        let start = Instant::now();
        run();
        least = least.min(start.elapsed());
    }
    least.as_nanos() as f64
}
