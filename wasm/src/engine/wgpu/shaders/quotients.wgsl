// For the tests: what `corrected` and `corrected_root` make of what is off. A number per invocation.

@group(0) @binding(0) var<uniform> params: Params;
// a, b, and a / b and the root of b that are off, in fours.
@group(0) @binding(1) var<storage, read> given: array<f32>;
// The quotient and the root, in twos.
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let i = id.x;
    if i >= params.rows { return; }
    out[2u * i] = corrected(given[4u * i + 2u], given[4u * i], given[4u * i + 1u]);
    out[2u * i + 1u] = corrected_root(given[4u * i + 3u], given[4u * i + 1u]);
}
