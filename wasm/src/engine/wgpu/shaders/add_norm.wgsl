// The sum of x and the residual, both [rows, outputs], normalized row by row to out
// [rows, outputs].
//
// norm: gamma and beta, side by side; `number` is epsilon. A workgroup of 64 takes four rows,
// sixteen invocations each. Memory of a workgroup: 256 bytes. Any width is possible.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<Read>;
@group(0) @binding(3) var<storage, read> residual: array<Read>;
@group(0) @binding(4) var<storage, read> norm: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<Written>;

fn value(row: u32, column: u32) -> f32 {
    let at = row * params.outputs + column;
    return f32(x[at]) + f32(residual[at]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let row = group.x * ROWS + lane / LANES;
    let width = select(0u, params.outputs, row < counts[params.rows]);
    normalize(row, width, lane);
}
