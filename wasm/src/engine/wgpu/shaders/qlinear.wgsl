// The int8 linear layer: out = activation((q * W) * scale * row_scale + bias).
//
// q [rows, a * 16 bytes] and row_scales [rows] come from quantize.wgsl. weights
// [outputs, a * 16 bytes]: one output after the other, padded with zeros. columns: scale and bias
// of each output. out [rows, outputs]. `b` is the activation.
// A workgroup of 8 x 8 computes a tile of 32 rows by 32 outputs, 64 inputs at a time. An invocation
// computes 4 by 4 sums, 8 apart, so that neighbours read neighbouring lines. Memory of a workgroup:
// 4 KiB. Sums are exact up to 133,000 inputs.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> row_scales: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> columns: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> out: array<Written>;

const TILE = 32u;
const STEP = 4u;

var<workgroup> left: array<vec4<u32>, 128>;
var<workgroup> right: array<vec4<u32>, 128>;

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let rows = counts[params.rows];
    let width = params.a;
    var sums: array<vec4<i32>, 4>;
    for (var i = 0u; i < 4u; i += 1u) {
        sums[i] = vec4<i32>(0);
    }
    for (var first = 0u; first < width; first += STEP) {
        for (var i = 0u; i < 2u; i += 1u) {
            let at = lane + i * 64u;
            let line = at / STEP;
            let c = first + at % STEP;
            let row = group.x * TILE + line;
            let output = group.y * TILE + line;
            var a = vec4<u32>(0u);
            var b = vec4<u32>(0u);
            if row < rows && c < width {
                a = q[row * width + c];
            }
            if output < params.outputs && c < width {
                b = weights[output * width + c];
            }
            left[at] = a;
            right[at] = b;
        }
        workgroupBarrier();
        for (var c = 0u; c < STEP; c += 1u) {
            let b0 = right[local.x * STEP + c];
            let b1 = right[(local.x + 8u) * STEP + c];
            let b2 = right[(local.x + 16u) * STEP + c];
            let b3 = right[(local.x + 24u) * STEP + c];
            for (var i = 0u; i < 4u; i += 1u) {
                let a = left[(local.y + i * 8u) * STEP + c];
                sums[i] += vec4<i32>(
                    dot_sixteen(a, b0),
                    dot_sixteen(a, b1),
                    dot_sixteen(a, b2),
                    dot_sixteen(a, b3),
                );
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i += 1u) {
        let row = group.x * TILE + local.y + i * 8u;
        if row >= rows {
            continue;
        }
        let scale = row_scales[row];
        for (var j = 0u; j < 4u; j += 1u) {
            let output = group.y * TILE + local.x + j * 8u;
            if output < params.outputs {
                let column = columns[output];
                let value = times(times(f32(sums[i][j]), column.x), scale) + column.y;
                out[row * params.outputs + output] = Written(activate(value, params.b));
            }
        }
    }
}
