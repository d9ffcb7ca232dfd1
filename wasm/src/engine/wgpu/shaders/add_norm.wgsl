// The sum of x and the residual, both [rows, outputs], normalized row by row to out [rows, outputs].
//
// gamma and beta side by side in `norm`. One workgroup of 64 per row; memory of a workgroup: 256
// bytes. The sums are formed three times, from caches, so that no width is too large.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> residual: array<f32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let width = params.outputs;
    let start = group.x * width;
    var sum = 0.0;
    for (var c = lane; c < width; c += 64u) {
        sum += x[start + c] + residual[start + c];
    }
    let mean = sum_of_all(sum, lane) / f32(width);
    var squares = 0.0;
    for (var c = lane; c < width; c += 64u) {
        let d = x[start + c] + residual[start + c] - mean;
        squares += d * d;
    }
    let variance = sum_of_all(squares, lane) / f32(width);
    let scale = 1.0 / sqrt(variance + params.epsilon);
    for (var c = lane; c < width; c += 64u) {
        let d = x[start + c] + residual[start + c] - mean;
        out[start + c] = d * scale * norm[c] + norm[width + c];
    }
}
