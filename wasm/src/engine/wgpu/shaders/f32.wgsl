// Functions of elements in f32, in the order of the CPU's kernels.

// A sum and four more products.
fn sum_of_products(sum: f32, a: vec4<f32>, b: vec4<f32>) -> f32 {
    return sum + times(a.x, b.x) + times(a.y, b.y) + times(a.z, b.z) + times(a.w, b.w);
}
