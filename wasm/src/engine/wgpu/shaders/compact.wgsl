// Moves the rows of the sentences still in the batch side by side, to another buffer.
//
// x [rows before the exit, outputs], out [rows, outputs]. One workgroup of 64 per row.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<Read>;
@group(0) @binding(4) var<storage, read_write> out: array<Read>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let sentence = sentence_of(group.x, counts[0]);
    let source = group.x - sentence.x + sentence.w;
    for (var c = lane; c < params.outputs; c += 64u) {
        out[group.x * params.outputs + c] = x[source * params.outputs + c];
    }
}
