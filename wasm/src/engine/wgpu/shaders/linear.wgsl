// The linear layer of floats: out = activation(x * W + bias).
//
// x [rows, inputs], weights [inputs, outputs], bias [outputs], out [rows, outputs]. `b` is the
// activation.
// A workgroup of 8 x 8 computes a tile of 32 rows by 32 outputs, 16 inputs at a time. An invocation
// computes 4 by 4 sums, 8 apart. Products of 16 inputs are summed as Read, tiles as f32. Memory of
// a workgroup: 4.1 KiB, in f16 half of it.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<Read>;
@group(0) @binding(3) var<storage, read> weights: array<Read>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<Written>;

const TILE = 32u;
const STEP = 16u;
// One more than a step, so that rows of a tile use different memory banks.
const PITCH = 17u;

var<workgroup> left: array<Read, 544>;
var<workgroup> right: array<Read, 512>;

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let rows = counts[params.rows];
    var sums: array<vec4<f32>, 4>;
    for (var i = 0u; i < 4u; i += 1u) {
        sums[i] = vec4<f32>(0.0);
    }
    for (var first = 0u; first < params.inputs; first += STEP) {
        for (var i = 0u; i < 8u; i += 1u) {
            let at = lane + i * 64u;
            let row = group.x * TILE + at / STEP;
            let input = first + at % STEP;
            var value = Read(0.0);
            if row < rows && input < params.inputs {
                value = x[row * params.inputs + input];
            }
            left[at / STEP * PITCH + at % STEP] = value;
            let k = first + at / TILE;
            let output = group.y * TILE + at % TILE;
            var weight = Read(0.0);
            if k < params.inputs && output < params.outputs {
                weight = weights[k * params.outputs + output];
            }
            right[at] = weight;
        }
        workgroupBarrier();
        var tile: array<vec4<Read>, 4>;
        for (var i = 0u; i < 4u; i += 1u) {
            tile[i] = vec4<Read>(0.0);
        }
        for (var c = 0u; c < STEP; c += 1u) {
            let b = vec4<Read>(
                right[c * TILE + local.x],
                right[c * TILE + local.x + 8u],
                right[c * TILE + local.x + 16u],
                right[c * TILE + local.x + 24u],
            );
            for (var i = 0u; i < 4u; i += 1u) {
                tile[i] += left[(local.y + i * 8u) * PITCH + c] * b;
            }
        }
        for (var i = 0u; i < 4u; i += 1u) {
            sums[i] += vec4<f32>(tile[i]);
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i += 1u) {
        let row = group.x * TILE + local.y + i * 8u;
        for (var j = 0u; j < 4u; j += 1u) {
            let output = group.y * TILE + local.x + j * 8u;
            if row < rows && output < params.outputs {
                let value = sums[i][j] + bias[output];
                out[row * params.outputs + output] = Written(activate(value, params.b));
            }
        }
    }
}
