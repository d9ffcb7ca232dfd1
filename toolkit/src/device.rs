//! Selection of the device that computes a network.

use crate::Error;
use candle_core::Device;

/// Returns the device called `name`, `cpu`, `cuda`, `cuda:n` or `auto`, and a description of it.
/// `auto` takes the first GPU if this build has CUDA and finds one, else the CPU.
///
/// # Errors
/// [`Error::Unfit`] if the name is unknown, or the device is missing or unusable in this build.
pub fn device(name: &str) -> Result<(Device, String), Error> {
    match name {
        "cpu" => Ok((Device::Cpu, cpu())),
        "auto" => Ok(match cuda(0) {
            Ok(device) => (device, "CUDA device 0".into()),
            Err(reason) => (Device::Cpu, format!("{} ({reason})", cpu())),
        }),
        _ => {
            let ordinal = match name.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|n| n.parse().ok()),
                None => None,
            };
            let Some(ordinal) = ordinal else {
                return Err(Error::Unfit(format!(
                    "`{name}` is no device; expected `auto`, `cpu`, `cuda` or `cuda:n`"
                )));
            };
            let device = cuda(ordinal).map_err(|reason| {
                Error::Unfit(format!("the device `{name}` cannot be used: {reason}"))
            })?;
            Ok((device, format!("CUDA device {ordinal}")))
        }
    }
}

fn cpu() -> String {
    format!("the CPU, {} threads", rayon::current_num_threads())
}

#[cfg(feature = "cuda")]
fn cuda(ordinal: usize) -> Result<Device, String> {
    Device::new_cuda(ordinal).map_err(|e| format!("no CUDA GPU of that number: {e}"))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, String> {
    Err("this build has no CUDA; build with `--features cuda`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_is_refused() {
        for name in ["", "gpu", "cuda:", "cuda:x", "cudax", "tpu"] {
            assert!(device(name).unwrap_err().to_string().contains("`auto`"), "{name}");
        }
        assert!(device("cpu").unwrap().0.is_cpu());
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn cuda_needs_the_feature() {
        assert!(device("cuda:1").unwrap_err().to_string().contains("--features cuda"));
        let (chosen, words) = device("auto").unwrap();
        assert!(chosen.is_cpu() && words.contains("--features cuda"));
    }
}
