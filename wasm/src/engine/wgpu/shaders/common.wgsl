// Beginning of every kernel: its parameters, and functions of one number. The functions are those
// of the CPU's kernels, operation for operation, so that int8 activations are rounded alike.
//
// Type aliases come before this file: Read and Written are the elements of the input and output
// values, f32 or f16. Single numbers are f32.

struct Params {
    // The stage, for counting workgroups.
    stage: u32,
    // Index in `counts` of the number of rows: 0 sentences, 1 tokens.
    rows: u32,
    // Width of an input row.
    inputs: u32,
    // Width of an output row.
    outputs: u32,
    // Further numbers, with a meaning per kernel.
    a: u32,
    b: u32,
    number: f32,
    // 0, which compilers cannot know.
    nothing: u32,
}

// The number x, rounded. Compilers may contract a product and the next sum to a fused multiply-add,
// or sum in another order (Mesa does). WGSL cannot forbid this, but reading the bits in between
// prevents it.
fn rounded(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ params.nothing);
}

// The product of two numbers, rounded.
fn times(a: f32, b: f32) -> f32 {
    return rounded(a * b);
}

// The upper half of a number's digits.
fn upper(x: f32) -> f32 {
    let scaled = times(x, 4097.0);
    return rounded(scaled - rounded(scaled - x));
}

// a - q b, exactly, for a q close to a / b (Dekker, 1971): the products of halves correct the
// rounding of the product.
fn left_over(a: f32, q: f32, b: f32) -> f32 {
    let product = times(q, b);
    let q1 = upper(q);
    let q2 = rounded(q - q1);
    let b1 = upper(b);
    let b2 = rounded(b - b1);
    var lost = rounded(times(q1, b1) - product);
    lost = rounded(lost + times(q1, b2));
    lost = rounded(lost + times(q2, b1));
    lost = rounded(lost + times(q2, b2));
    return rounded(a - product) - lost;
}

// True if the halves of a number neither overflow nor underflow.
fn ordinary(x: f32) -> bool {
    return abs(x) > 1e-25 && abs(x) < 1e30;
}

// a / b as IEEE 754 rounds it, from a q that is off by a few units in the last place. Adapters may
// divide with an error (WGSL allows 2.5 units), and one unit can round an activation to another
// integer.
fn corrected(q: f32, a: f32, b: f32) -> f32 {
    if ordinary(q) && ordinary(a) && ordinary(b) {
        return q + left_over(a, q, b) / b;
    }
    return q;
}

// The square root as IEEE 754 rounds it, from a root that is off by a few units in the last place.
fn corrected_root(root: f32, x: f32) -> f32 {
    if ordinary(root) && ordinary(x) {
        return root + left_over(x, root, root) / (root + root);
    }
    return root;
}

// The quotient is hidden from compilers: some replace its product with b by a.
fn divided(a: f32, b: f32) -> f32 {
    return corrected(rounded(a / b), a, b);
}

fn square_root(x: f32) -> f32 {
    return corrected_root(rounded(sqrt(x)), x);
}

// The result, or `value` if it is a NaN. Clamping would hide NaNs, which damaged weights and f16
// overflow cause.
fn unless_nan(value: f32, result: f32) -> f32 {
    return select(result, value, (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u);
}

// e to the x for -87 <= x <= 88, and outside the value at the nearer end.
fn exponential(value: f32) -> f32 {
    let x = clamp(value, -87.0, 88.0);
    let n = round(times(x, 1.4426950));
    let r = rounded(x - times(n, 0.6933594)) + times(n, 2.1219444e-4);
    var p = 1.9875691e-4;
    p = times(p, r) + 1.3982e-3;
    p = times(p, r) + 8.333452e-3;
    p = times(p, r) + 4.1665796e-2;
    p = times(p, r) + 1.6666665e-1;
    p = times(p, r) + 0.5;
    p = rounded(times(p, times(r, r)) + r) + 1.0;
    return unless_nan(value, p * bitcast<f32>(u32(i32(n) + 127) << 23u));
}

fn hyperbolic_tangent(value: f32) -> f32 {
    let x = clamp(value, -7.905311, 7.905311);
    let s = times(x, x);
    var p = -2.7607685e-16;
    p = times(p, s) + 2.000188e-13;
    p = times(p, s) - 8.604672e-11;
    p = times(p, s) + 5.122297e-8;
    p = times(p, s) + 1.4857224e-5;
    p = times(p, s) + 6.3726193e-4;
    p = times(p, s) + 4.8935246e-3;
    var q = 1.1982584e-6;
    q = times(q, s) + 1.1853471e-4;
    q = times(q, s) + 2.2684346e-3;
    q = times(q, s) + 4.893525e-3;
    return unless_nan(value, divided(times(x, p), q));
}

fn error_function(value: f32) -> f32 {
    let x = clamp(value, -4.0, 4.0);
    let s = times(x, x);
    var p = -2.726142e-10;
    p = times(p, s) + 2.7706814e-8;
    p = times(p, s) - 2.101024e-6;
    p = times(p, s) - 5.6925064e-5;
    p = times(p, s) - 7.3499063e-4;
    p = times(p, s) - 2.9546e-3;
    p = times(p, s) - 1.6096033e-2;
    var q = -1.4566072e-5;
    q = times(q, s) - 2.1337406e-4;
    q = times(q, s) - 1.682827e-3;
    q = times(q, s) - 7.373329e-3;
    q = times(q, s) - 1.4264739e-2;
    return divided(times(x, p), q);
}

// 0 identity, 1 GELU, 2 GELU with tanh, 3 ReLU, 4 tanh.
fn activate(x: f32, activation: u32) -> f32 {
    switch activation {
        case 1u: {
            return times(x, 0.5) * (error_function(times(x, 0.70710677)) + 1.0);
        }
        case 2u: {
            let cube = times(times(times(x, 0.044715), x), x);
            return times(x, 0.5) * (hyperbolic_tangent(times(x + cube, 0.7978846)) + 1.0);
        }
        case 3u: { return select(x, 0.0, x < 0.0); }
        case 4u: { return hyperbolic_tangent(x); }
        default: { return x; }
    }
}
