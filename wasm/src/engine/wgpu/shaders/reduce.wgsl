// The sum of one number per invocation of a workgroup of 64, in a fixed order; the same for all.

var<workgroup> parts: array<f32, 64>;

fn sum_of_all(value: f32, lane: u32) -> f32 {
    parts[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            parts[lane] += parts[lane + half];
        }
        workgroupBarrier();
    }
    let sum = parts[0];
    workgroupBarrier();
    return sum;
}
