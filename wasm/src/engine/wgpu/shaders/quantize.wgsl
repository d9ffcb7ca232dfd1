// Rows of floats to int8: q = round(x * 127 / max|x|), ties to even.
//
// x [rows, inputs]. q [rows, a * 16 bytes], four to a u32, padded with zeros. scales [rows] are
// max|x| / 127, NaN for a row with a NaN. One workgroup of 64 per row. Memory of a workgroup: 256
// bytes.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Read>;
@group(0) @binding(2) var<storage, read_write> q: array<u32>;
@group(0) @binding(3) var<storage, read_write> scales: array<f32>;

var<workgroup> largest: array<u32, 64>;

fn quantized(row: u32, column: u32, inverse: f32) -> u32 {
    if column >= params.inputs {
        return 0u;
    }
    return bitcast<u32>(i32(round(f32(x[row * params.inputs + column]) * inverse))) & 0xffu;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let row = group.x;
    // Bits of absolute values have the same order as integers, and NaNs are the largest.
    var most = 0u;
    for (var c = lane; c < params.inputs; c += 64u) {
        most = max(most, bitcast<u32>(f32(x[row * params.inputs + c])) & 0x7fffffffu);
    }
    largest[lane] = most;
    workgroupBarrier();
    for (var apart = 32u; apart > 0u; apart /= 2u) {
        if lane < apart {
            largest[lane] = max(largest[lane], largest[lane + apart]);
        }
        workgroupBarrier();
    }
    let whole = bitcast<f32>(largest[0]);
    let inverse = divided(127.0, max(whole, 1e-30));
    let words = params.a * 4u;
    for (var w = lane; w < words; w += 64u) {
        let c = w * 4u;
        q[row * words + w] = quantized(row, c, inverse)
            | (quantized(row, c + 1u, inverse) << 8u)
            | (quantized(row, c + 2u, inverse) << 16u)
            | (quantized(row, c + 3u, inverse) << 24u);
    }
    if lane == 0u {
        scales[row] = whole * (1.0 / 127.0);
    }
}
