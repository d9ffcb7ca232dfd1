// Layer normalization (Ba, Kiros and Hinton 2016), the last step of kernels that define `value` of
// a row and a column. `value` is called three times, so that nothing is rounded in between.
//
// A workgroup of 64 takes four rows, sixteen invocations each. The order of the sums is that of the
// CPU's kernels: invocation c % 16 adds column c, then the invocations' sums are added half by
// half.

const ROWS = 4u;
const LANES = 16u;

var<workgroup> parts: array<f32, 64>;

// The sum of one number per invocation of a row.
fn total(value: f32, lane: u32) -> f32 {
    parts[lane] = value;
    workgroupBarrier();
    for (var apart = LANES / 2u; apart > 0u; apart /= 2u) {
        if lane % LANES < apart {
            parts[lane] += parts[lane + apart];
        }
        workgroupBarrier();
    }
    let sum = parts[lane / LANES * LANES];
    workgroupBarrier();
    return sum;
}

// Normalizes a row of `value` to `out`; a `width` of 0 writes nothing.
fn normalize(row: u32, width: u32, lane: u32) {
    let count = f32(params.outputs);
    var sum = 0.0;
    for (var c = lane % LANES; c < width; c += LANES) {
        sum += value(row, c);
    }
    let mean = divided(total(sum, lane), count);
    var squares = 0.0;
    for (var c = lane % LANES; c < width; c += LANES) {
        let d = value(row, c) - mean;
        squares += times(d, d);
    }
    let variance = divided(total(squares, lane), count);
    let spread = variance + params.number;
    let scale = divided(1.0, square_root(spread));
    for (var c = lane % LANES; c < width; c += LANES) {
        let d = value(row, c) - mean;
        let normalized = times(times(d, scale), norm[c]) + norm[params.outputs + c];
        out[row * params.outputs + c] = Written(normalized);
    }
}
