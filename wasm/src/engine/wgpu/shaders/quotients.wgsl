// For the tests: `corrected` and `corrected_root` of inexact values. One number per invocation.

@group(0) @binding(0) var<uniform> params: Params;
// In fours: a, b, an inexact a / b and an inexact root of b.
@group(0) @binding(1) var<storage, read> given: array<f32>;
// In twos: the quotient and the root.
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let i = id.x;
    if i >= params.rows { return; }
    out[2u * i] = corrected(given[4u * i + 2u], given[4u * i], given[4u * i + 1u]);
    out[2u * i + 1u] = corrected_root(given[4u * i + 3u], given[4u * i + 1u]);
}
