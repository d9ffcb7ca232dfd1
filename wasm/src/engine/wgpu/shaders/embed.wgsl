// Embeddings: the word's row and the position's row, each times its scale, summed and normalized.
//
// words [vocabulary, outputs], positions [positions, outputs]. WORD_BITS and POSITION_BITS are 32
// for f32 as bits, 16 for f16 two to a u32, and 8 for int8 four to a u32. With WORD_BITS 4, a u32
// contains eight elements; the low nibbles of its bytes are from the first half of the columns.
// Writes out [rows, outputs].
// `a` is the number of words, `b` the number of scales of each word, `number` epsilon. A workgroup
// of 64 takes four rows, sixteen invocations each. The only limit is that of the bindings. Memory
// of a workgroup: 256 bytes.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read> words: array<u32>;
@group(0) @binding(5) var<storage, read> positions: array<u32>;
// gamma, beta, the scales of the words and those of the positions.
@group(0) @binding(6) var<storage, read> norm: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<Written>;

fn signed_byte(word: u32, at: u32) -> f32 {
    return f32(extractBits(bitcast<i32>(word), (at % 4u) * 8u, 8u));
}

fn of_word(id: u32, column: u32) -> f32 {
    let scales = 2u * params.outputs + id * params.b;
    if WORD_BITS == 4u {
        let half = params.outputs / 2u;
        let at = id * half + column % half;
        let shift = (at % 4u) * 8u + 4u * (column / half);
        let value = f32(extractBits(words[at / 4u], shift, 4u)) - 8.0;
        return times(value, norm[scales + column * params.b / params.outputs]);
    }
    let at = id * params.outputs + column;
    if WORD_BITS == 8u {
        return times(signed_byte(words[at / 4u], at), norm[scales]);
    }
    if WORD_BITS == 16u {
        return unpack2x16float(words[at / 2u])[at % 2u];
    }
    return bitcast<f32>(words[at]);
}

fn of_position(position: u32, column: u32) -> f32 {
    let at = position * params.outputs + column;
    if POSITION_BITS == 8u {
        let scale = norm[2u * params.outputs + params.a * params.b + position];
        return times(signed_byte(positions[at / 4u], at), scale);
    }
    if POSITION_BITS == 16u {
        return unpack2x16float(positions[at / 2u])[at % 2u];
    }
    return bitcast<f32>(positions[at]);
}

// Id and position of the row.
var<private> id: u32;
var<private> position: u32;

fn value(row: u32, column: u32) -> f32 {
    return of_word(id, column) + of_position(position, column);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    count(lane);
    let row = group.x * ROWS + lane / LANES;
    let inside = row < counts[1];
    let width = select(0u, params.outputs, inside);
    if inside {
        id = ids[row];
        position = row - sentence_of(row, counts[0]).x;
    }
    normalize(row, width, lane);
}
