// One row per sentence from its rows: their mean, or the first row if `a` is 1.
//
// x [rows, outputs], out [sentences, outputs]. One workgroup of 64 per sentence.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> sentences: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> x: array<Read>;
@group(0) @binding(4) var<storage, read_write> out: array<Written>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let width = params.outputs;
    let sentence = sentences[group.x];
    let length = select(sentence.y, 1u, params.a == 1u);
    for (var c = lane; c < width; c += 64u) {
        var sum = 0.0;
        for (var row = sentence.x; row < sentence.x + length; row += 1u) {
            sum += f32(x[row * width + c]);
        }
        out[group.x * width + c] = Written(divided(sum, f32(length)));
    }
}
