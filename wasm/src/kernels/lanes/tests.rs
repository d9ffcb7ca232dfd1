//! Tests of every operation against that of `f32`, and of the functions built of them.

use super::*;
use crate::kernels::isa::{Baseline, compiled};
use crate::kernels::testing::{floats, same_everywhere};

/// Writes the results of all operations on two vectors of sixteen floats.
#[inline(always)]
fn all_operations<V: Vector>(x: &[f32; LANES], y: &[f32; LANES], out: &mut [f32]) {
    let (a, b) = (Lanes::<V>::load(x), Lanes::load(y));
    let mut rows = [x.as_ptr(); LANES];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = row.wrapping_add(1 + i % 8);
    }
    // SAFETY: each row begins in the first nine floats, and floats up to 3 + 4 are read.
    let [c0, c1, c2, c3] = unsafe { Lanes::<V>::transposed(&rows, 3) };
    let all = [
        a + b,
        a - b,
        a * b,
        a / b,
        a.max(b),
        Lanes(a.0.min(b.0)),
        a.clamp(-1.0, 1.5),
        (a + 12_582_912.0).exp2_of_low_bits(),
        Lanes::splat(a.total()),
        Lanes::load_part(&x[..5]),
        c0,
        c1,
        c2,
        c3,
    ];
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    for (lanes, out) in all.into_iter().zip(whole) {
        lanes.store(out);
    }
    (a * b).store_part(rest);
}

#[test]
fn operations_are_those_of_floats() {
    let (mut x, mut y) = ([0.0; LANES], [0.0; LANES]);
    x.copy_from_slice(&floats(LANES, 1));
    y.copy_from_slice(&floats(LANES, 2));
    let special = [0.0, -0.0, 1e-40, f32::INFINITY, f32::NEG_INFINITY, 3e38];
    for (i, s) in special.iter().cycle().take(36).enumerate() {
        (x[i % 7 + 9], y[i % 5 + 11]) = (*s, special[i / 6]);
        let n = 14 * LANES + 3;
        let mut expected = vec![f32::NAN; n];
        all_operations::<[f32; LANES]>(&x, &y, &mut expected);
        let out = same_everywhere(n, |isa, out| {
            let (x, y) = (&x, &y);
            compiled!(
                isa,
                all_operations(x: &[f32; LANES], y: &[f32; LANES], out: &mut [f32])
            );
        });
        for (at, (out, expected)) in out.iter().zip(&expected).enumerate() {
            let same = out.to_bits() == expected.to_bits() || (out.is_nan() && expected.is_nan());
            assert!(same, "operation {}: {out}, not {expected}", at / LANES);
        }
    }
}

#[test]
fn a_nan_is_clamped_to_itself_and_never_the_larger_one() {
    for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN), (0.0, -0.0), (-0.0, 0.0)] {
        let mut out = [0.0; LANES];
        Lanes::<Baseline>::splat(a).max(Lanes::splat(b)).store(&mut out);
        assert!(out.iter().all(|x| x.to_bits() == b.to_bits()), "{a} and {b}: {out:?}");
        Lanes::<Baseline>::splat(f32::NAN).clamp(0.0, 1.0).store(&mut out);
        assert!(out.iter().all(|x| x.is_nan()));
    }
}

#[test]
fn a_tile_is_written_as_far_as_it_is_wanted() {
    let lanes = |first: f32| {
        let mut lanes = [0.0; LANES];
        for (l, x) in lanes.iter_mut().enumerate() {
            *x = first + l as f32;
        }
        Lanes::<Baseline>::load(&lanes)
    };
    for (rows, columns) in [(2, 32), (1, 32), (2, 19), (1, 3), (0, 32)] {
        let mut out = [-1.0; 80];
        write(
            [[lanes(0.0), lanes(16.0)], [lanes(100.0), lanes(116.0)]],
            rows,
            columns,
            &mut out,
            40,
        );
        for (i, x) in out.iter().enumerate() {
            let (row, column) = (i / 40, i % 40);
            let written = row < rows && column < columns;
            assert_eq!(*x, if written { (row * 100 + column) as f32 } else { -1.0 });
        }
    }
}

#[test]
fn sums_take_every_length() {
    for n in 0..50 {
        let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
        assert_eq!(sum_of::<Baseline>(&x, |x| x + 1.0), x.iter().map(|x| x + 1.0).sum::<f32>());
        assert_eq!(dot::<Baseline>(&x, &x), x.iter().map(|x| x * x).sum::<f32>());
    }
}

#[test]
fn a_product_takes_its_columns_from_where_they_stand() {
    let b: Vec<Line> =
        (0..6).map(|i| Line(std::array::from_fn(|l| (i * 100 + l) as f32))).collect();
    let rows: [&[f32]; 2] = [&[1.0, 2.0, 3.0], &[0.0, 1.0, 0.0]];
    let stored = |lanes: Lanes<Baseline>| {
        let mut floats = [0.0; LANES];
        lanes.store(&mut floats);
        floats
    };
    let [[first, second], [row, _]] = product::<Baseline, 2, 2>(3, rows, 1, &b, 2, 1);
    assert_eq!((stored(first)[1], stored(second)[15]), (1606.0, 2290.0));
    assert_eq!(stored(row), b[2].0);
    let [[_, apart], _] = product::<Baseline, 2, 2>(3, rows, 1, &b, 1, 3);
    assert_eq!(stored(apart)[2], 302.0 + 2.0 * 402.0 + 3.0 * 502.0);
}
