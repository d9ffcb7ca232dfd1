//! Adapter and device. Failures of them become an [`Error::Gpu`].

use crate::error::{Error, GpuFailure};
use ::wgpu::{
    AdapterInfo, Backends, Buffer, BufferDescriptor, BufferUsages, Device, DeviceDescriptor,
    DeviceType, Features, Instance, InstanceDescriptor, InstanceFlags, Limits, MapMode, Queue,
    RequestAdapterOptions, WgslLanguageFeatures,
};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Options of a GPU engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuOptions {
    /// f16 instead of f32 for values with a row per token, and for their float weights. Opening is
    /// an error where the adapter has no `shader-f16`.
    pub f16: bool,
    /// Products of single bytes, even where WGSL has packed dot products.
    pub unpacked: bool,
    /// Limits that every WebGPU implementation offers, even where the adapter has larger buffers.
    pub default_limits: bool,
    /// Counting of the workgroups that run in each stage, for tests.
    pub count_workgroups: bool,
}

/// Counts of an engine's work on its GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuCounts {
    /// Buffers created, including those of weights.
    pub buffers: usize,
    /// Pipelines compiled.
    pub pipelines: usize,
    /// Number of reads of the GPU's memory by the host.
    pub reads: usize,
}

/// A device and its queue.
#[derive(Debug)]
pub(super) struct Gpu {
    pub device: Device,
    pub queue: Queue,
    pub info: AdapterInfo,
    pub limits: Limits,
    /// True if shaders have dot products of packed bytes.
    pub packed: bool,
    pub options: GpuOptions,
    status: Arc<Status>,
    buffers: AtomicUsize,
    pub pipelines: AtomicUsize,
    reads: AtomicUsize,
}

/// Errors reported by the device.
#[derive(Debug, Default)]
struct Status {
    /// Reason for the loss of the device, which is permanent.
    lost: Mutex<Option<String>>,
    /// First error since the last check.
    error: Mutex<Option<(GpuFailure, String)>>,
}

impl Gpu {
    pub(super) async fn open(options: GpuOptions) -> Result<Self, Error> {
        let none = |problem: String| Error::Gpu { failure: GpuFailure::NoAdapter, problem };
        let mut descriptor = InstanceDescriptor::new_without_display_handle();
        descriptor.backends =
            Backends::VULKAN | Backends::METAL | Backends::DX12 | Backends::BROWSER_WEBGPU;
        // A kernel of this crate writes the sizes of dispatches; a further check is not needed.
        descriptor.flags = InstanceFlags::empty();
        let instance = Instance::new(descriptor);
        let adapter = instance.request_adapter(&RequestAdapterOptions {
            power_preference: ::wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        });
        let adapter = adapter.await.map_err(|e| none(format!("no GPU adapter: {e}")))?;
        let mut limits = Limits::default();
        if !options.default_limits {
            let most = adapter.limits();
            limits.max_buffer_size = limits.max_buffer_size.max(most.max_buffer_size);
            limits.max_storage_buffer_binding_size =
                limits.max_storage_buffer_binding_size.max(most.max_storage_buffer_binding_size);
        }
        let info = adapter.get_info();
        let mut required_features = Features::empty();
        if options.f16 {
            required_features = Features::SHADER_F16;
            if !adapter.features().contains(required_features) {
                let name = self::name(&info);
                return Err(none(format!("the adapter {name} has no `shader-f16`; use f32")));
            }
        }
        let descriptor = DeviceDescriptor {
            required_features,
            required_limits: limits.clone(),
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| none(format!("the adapter {} cannot open a device: {e}", info.name)))?;
        let status = Arc::new(Status::default());
        let reported = status.clone();
        device.set_device_lost_callback(move |reason, message| {
            lock(&reported.lost).get_or_insert(format!("{reason:?}: {message}"));
        });
        let reported = status.clone();
        device.on_uncaptured_error(Arc::new(move |error: ::wgpu::Error| {
            let failure = match &error {
                ::wgpu::Error::OutOfMemory { .. } => GpuFailure::OutOfMemory,
                _ => GpuFailure::Other,
            };
            lock(&reported.error).get_or_insert((failure, error.to_string()));
        }));
        let packed = instance
            .wgsl_language_features()
            .contains(WgslLanguageFeatures::Packed4x8IntegerDotProduct);
        Ok(Gpu {
            device,
            queue,
            info,
            limits,
            packed: packed && !options.unpacked,
            options,
            status,
            buffers: AtomicUsize::new(0),
            pipelines: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
        })
    }

    /// True if the adapter computes on the CPU.
    pub(super) fn is_software(&self) -> bool {
        self.info.device_type == DeviceType::Cpu
    }

    pub(super) fn counts(&self) -> GpuCounts {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        GpuCounts {
            buffers: of(&self.buffers),
            pipelines: of(&self.pipelines),
            reads: of(&self.reads),
        }
    }

    /// Returns an error that the device has reported since the last check.
    pub(super) fn check(&self) -> Result<(), Error> {
        // Polling reports the loss of a device.
        let _ = self.device.poll(::wgpu::PollType::Poll);
        if let Some(why) = &*lock(&self.status.lost) {
            let problem = format!("the device {} is lost ({why})", self.info.name);
            return Err(Error::Gpu { failure: GpuFailure::Lost, problem });
        }
        match lock(&self.status.error).take() {
            Some((failure, problem)) => Err(Error::Gpu { failure, problem }),
            None => Ok(()),
        }
    }

    /// Creates a buffer of `bytes`, 16 or more.
    pub(super) fn buffer(&self, label: &str, bytes: u64, usage: BufferUsages) -> Buffer {
        self.buffers.fetch_add(1, Ordering::Relaxed);
        self.device.create_buffer(&BufferDescriptor {
            label: Some(label),
            size: bytes.max(16).next_multiple_of(16),
            usage,
            mapped_at_creation: false,
        })
    }

    /// Creates a buffer with these bytes, padded with zeros to a multiple of 16.
    ///
    /// # Errors
    /// A message, if the bytes exceed the device's limit for a buffer.
    pub(super) fn upload(
        &self,
        label: &str,
        mut bytes: Vec<u8>,
        usage: BufferUsages,
    ) -> Result<Buffer, String> {
        let limit = self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size);
        bytes.resize(bytes.len().max(16).next_multiple_of(16), 0);
        if bytes.len() as u64 > limit {
            return Err(format!(
                "a weight of {} bytes; the GPU takes {limit} in one buffer; use the CPU engine",
                bytes.len()
            ));
        }
        let buffer = self.buffer(label, bytes.len() as u64, usage | BufferUsages::COPY_DST);
        self.queue.write_buffer(&buffer, 0, &bytes);
        Ok(buffer)
    }

    /// Reads the first bytes of a mappable buffer, after all submitted work is done.
    pub(super) async fn read(&self, buffer: &Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mapped: Arc<Mutex<(Option<bool>, Option<Waker>)>> = Arc::default();
        let answer = mapped.clone();
        buffer.slice(..bytes).map_async(MapMode::Read, move |result| {
            let mut answer = lock(&answer);
            answer.0 = Some(result.is_ok());
            if let Some(waker) = answer.1.take() {
                waker.wake();
            }
        });
        let good = poll_fn(|context| {
            let mut mapped = lock(&mapped);
            mapped.1 = Some(context.waker().clone());
            mapped.0.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.check()?;
        let failed = |problem: String| Error::Gpu { failure: GpuFailure::Other, problem };
        if !good {
            return Err(failed("the host cannot read its answer".into()));
        }
        let view = buffer.slice(..bytes).get_mapped_range();
        let data = view.map(|view| view.to_vec()).map_err(|e| failed(e.to_string()));
        buffer.unmap();
        data
    }

    /// Waits for a future that needs only this device to make progress.
    ///
    /// # Errors
    /// [`Error::Gpu`] if the device is lost or has not answered for a minute. The limit is ten
    /// minutes for a software adapter, which shares a processor that may be busy.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn wait<T>(
        &self,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        use std::time::{Duration, Instant};
        let longest = Duration::from_secs(if self.is_software() { 600 } else { 60 });
        let begin = Instant::now();
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
                return answer;
            }
            let timeout = Some(Duration::from_secs(1));
            let waited =
                self.device.poll(::wgpu::PollType::Wait { submission_index: None, timeout });
            if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
                return answer;
            }
            self.check()?;
            if begin.elapsed() > longest {
                let problem =
                    format!("{} has not answered for {} s", self.info.name, longest.as_secs());
                return Err(Error::Gpu { failure: GpuFailure::Lost, problem });
            }
            if waited.is_ok() {
                // The device is idle, and another thread's poll has yet to run the callback.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Name of an adapter and of its graphics API.
pub(super) fn name(info: &AdapterInfo) -> String {
    let AdapterInfo { name, backend, .. } = info;
    // Browsers may hide the name.
    if name.is_empty() { format!("{backend:?}") } else { format!("{name} ({backend:?})") }
}

/// Shared ownership of objects of the GPU: in a browser these belong to one thread.
#[cfg(not(target_arch = "wasm32"))]
pub(super) type Handle<T> = std::sync::Arc<T>;
/// Shared ownership of objects of the GPU: in a browser these belong to one thread.
#[cfg(target_arch = "wasm32")]
pub(super) type Handle<T> = std::rc::Rc<T>;

/// Locks a mutex. A poisoned mutex is used: the guarded values are always consistent.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
