// What kernels compute with elements in f16.

// A sum and four products more, which are summed up in f16.
fn sum_of_products(sum: f32, a: vec4<f16>, b: vec4<f16>) -> f32 {
    return sum + f32(dot(a, b));
}
