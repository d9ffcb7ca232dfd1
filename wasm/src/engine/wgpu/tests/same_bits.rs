//! Tests for equal bits: software adapters round each operation by itself, so floats have the bits
//! of the CPU's kernels. Otherwise activations would be quantized differently and int8 logits would
//! differ.

use super::{Random, given, gpu, of_floats, of_offsets, params, run};
use crate::engine::wgpu::pipelines::{
    ADD_NORM, ATTENTION, EMBED, LINEAR, POOL, QUANTIZE, QUOTIENTS,
};
use crate::graph::{Activation, Elements, Matrix, Norm};
use crate::kernels::activation::activate;
use crate::kernels::attention::self_attention;
use crate::kernels::embed::{Tables, embed};
use crate::kernels::isa::Isa;
use crate::kernels::norm::add_norm;
use crate::kernels::pool::mean_pool;

#[test]
fn software_adapters_give_the_bits_of_the_cpu() {
    let Some(gpu) = gpu(false) else { return };
    let mut random = Random(9);
    let isa = Isa::detect();
    let compare = |out: &[u32], expected: &[f32], what: &str| {
        let differs = |(a, b): (&u32, &f32)| f32::from_bits(*a) != *b;
        let differing = out.iter().zip(expected).filter(|p| differs(*p)).count();
        println!("{what}: {differing} of {} differ on {}", out.len(), gpu.info.name);
        assert!(differing == 0 || !gpu.is_software(), "{what}: {differing} differ");
    };

    for width in [384, 99] {
        let rows = 7;
        let (x, r) = (random.floats(rows * width), random.floats(rows * width));
        let numbers = random.floats(2 * width);
        let (gamma, beta) = numbers.split_at(width);
        let norm = Norm { gamma: gamma.into(), beta: beta.into(), epsilon: 1e-3 };
        let numbers = of_floats(&numbers);
        let of_params = params(1, 0, width, 0, 0, 1e-3);
        let counts = vec![0, rows as u32];
        let read = [of_params, counts, of_floats(&x), of_floats(&r), numbers.clone()];
        let grid = (rows.div_ceil(4), 1);
        let out = run(&gpu, (ADD_NORM, ""), &given(read, &[rows * width]), grid);
        let mut expected = vec![0.0; rows * width];
        add_norm(isa, &x, &r, &norm, &mut expected);
        compare(&out[0], &expected, "add_norm");

        let matrix = |values: Vec<f32>| Matrix {
            rows: values.len() / width,
            columns: width,
            elements: Elements::F32(values),
        };
        let ids: Vec<u32> = (0..rows as u32).rev().collect();
        let (of_params, offsets) = (params(0, 0, width, rows, 0, 1e-3), [0, 3, 7]);
        let counts = vec![2, rows as u32];
        let tables = [of_floats(&x), of_floats(&r), numbers];
        let [words, positions, numbers] = tables;
        let of_sentences = of_offsets(&offsets);
        let read = [of_params, counts, of_sentences, ids.clone(), words, positions, numbers];
        let constants = "const WORD_BITS = 32u;\nconst POSITION_BITS = 32u;\n";
        let out = run(&gpu, (EMBED, constants), &given(read, &[rows * width]), grid);
        let tables = Tables { words: matrix(x.clone()), positions: matrix(r), norm };
        embed(isa, &ids, &offsets, &tables, &mut expected).unwrap();
        compare(&out[0], &expected, "embed");

        let read = [params(0, 0, width, 0, 0, 0.0), of_offsets(&offsets), of_floats(&x)];
        let out = run(&gpu, (POOL, ""), &given(read, &[2 * width]), (2, 1));
        let mut expected = vec![0.0; 2 * width];
        mean_pool(isa, &x, &offsets, width, &mut expected);
        compare(&out[0], &expected, "pool");

        let lines = width.div_ceil(16);
        let read = [params(0, width, 0, lines, 0, 0.0), of_floats(&x)];
        let out = run(&gpu, (QUANTIZE, ""), &given(read, &[rows * lines * 4, rows]), (rows, 1));
        let (mut q, mut expected) = (Vec::new(), Vec::new());
        for (row, x) in x.chunks(width).enumerate() {
            let most = x.iter().fold(0f32, |m, x| m.max(x.abs()));
            expected.extend(x.iter().map(|x| (x * (127.0 / most)).round_ties_even()));
            let byte = |c: usize| (out[0][row * lines * 4 + c / 4] >> (c % 4 * 8)) as i8;
            q.extend((0..width).map(|c| f32::from(byte(c)).to_bits()));
        }
        compare(&q, &expected, "quantize");
    }

    for (i, activation) in Activation::ALL.into_iter().enumerate() {
        // A layer of one input and one output applies only the activation.
        let mut x: Vec<f32> = random.floats(4000).iter().map(|x| x * x * x).collect();
        x[..4].copy_from_slice(&[0.0, 1e30, -1e30, 1e-30]);
        let one = |x: f32| of_floats(&[x]);
        let read = [params(0, 1, 1, 0, i, 0.0), vec![4000, 0], of_floats(&x), one(1.0), one(0.0)];
        let out = run(&gpu, (LINEAR, ""), &given(read, &[4000]), (125, 1));
        activate(isa, &mut x, activation);
        compare(&out[0], &x, &format!("{activation:?}"));
    }

    for (d, heads, offsets) in
        [(32, 2, vec![0, 1, 40, 57]), (33, 1, vec![0, 70]), (5, 3, vec![0, 300])]
    {
        let (rows, width) = (offsets[offsets.len() - 1], d * heads);
        let qkv = random.floats(rows * 3 * width);
        let constants = format!(
            "const D = {d}u;\nconst QUERIES = 8u;\nconst KEYS = 16u;\nconst FIRST = false;\n"
        );
        let counts = vec![offsets.len() as u32 - 1, rows as u32];
        let of_params = params(0, 3 * width, width, 0, 0, 1.0 / (d as f32).sqrt());
        let read = [of_params, counts, of_offsets(&offsets), of_floats(&qkv)];
        let grid = (rows.div_ceil(8), heads);
        let out = run(&gpu, (ATTENTION, &*constants), &given(read, &[rows * width]), grid);
        let mut expected = vec![0.0; rows * width];
        let mut scratch = Default::default();
        self_attention(isa, &qkv, &offsets, heads, usize::MAX, &mut scratch, &mut expected);
        compare(&out[0], &expected, "attention");
    }
}

#[test]
fn quotients_and_roots_that_are_off_are_made_exact() {
    let Some(gpu) = gpu(false) else { return };
    let mut random = Random(17);
    let mut ordinary = |signed: bool| {
        let exponent = random.next() as u32 % 40 + 127 - 20;
        let sign = if signed { (random.next() as u32 & 1) << 31 } else { 0 };
        f32::from_bits(sign | exponent << 23 | random.next() as u32 & 0x007f_ffff)
    };
    let pairs: Vec<(f32, f32)> = (0..4096).map(|_| (ordinary(true), ordinary(false))).collect();
    let off = |x: f32, by: i32| f32::from_bits(x.to_bits().wrapping_add_signed(by));
    for by in -3..=3 {
        let four = |(a, b): &(f32, f32)| [*a, *b, off(a / b, by), off(b.sqrt(), by)];
        let numbers: Vec<f32> = pairs.iter().flat_map(four).collect();
        let read = [params(4096, 0, 0, 0, 0, 0.0), of_floats(&numbers)];
        let out = run(&gpu, (QUOTIENTS, ""), &given(read, &[2 * 4096]), (64, 1));
        for ((a, b), out) in pairs.iter().zip(out[0].chunks(2)) {
            assert_eq!(f32::from_bits(out[0]), a / b, "{a} / {b}, off by {by}");
            assert_eq!(f32::from_bits(out[1]), b.sqrt(), "the root of {b}, off by {by}");
        }
    }
    let special = [(1.0, 0.0), (0.0, 3.0), (f32::NAN, 2.0), (1e-30, 1e20), (1e38, 1.0)];
    let four = |(a, b): &(f32, f32)| [*a, *b, a / b, b.sqrt()];
    let numbers: Vec<f32> = special.iter().flat_map(four).collect();
    let read = [params(special.len() as u32, 0, 0, 0, 0, 0.0), of_floats(&numbers)];
    let out = run(&gpu, (QUOTIENTS, ""), &given(read, &[2 * special.len()]), (1, 1));
    for ((a, b), out) in special.iter().zip(out[0].chunks(2)) {
        let (ours, theirs) = (f32::from_bits(out[0]), a / b);
        assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{a} / {b}: {ours}");
        assert_eq!(f32::from_bits(out[1]), b.sqrt(), "the root of {b}");
    }
}
