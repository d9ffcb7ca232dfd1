//! Writer of TensorBoard's event files: TFRecords of protobuf messages, with the field numbers of
//! [event.proto](https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/util/event.proto)
//! and
//! [summary.proto](https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/summary.proto).

use prost::Message;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    /// Value of the tag; optional because 0 is a value.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Value `SessionLog.SessionStatus.START`, by which TensorBoard discards its data from this step
/// on.
const START: i32 = 1;

/// An open event file.
pub(super) struct Events {
    file: File,
}

impl Events {
    /// Creates a new file in the folder. TensorBoard reads the files of a folder in the order of
    /// their names, and discards the values of earlier files from `first_step` on.
    pub(super) fn create(folder: &Path, first_step: Option<u64>) -> io::Result<Self> {
        let now = wall_time();
        let seconds = now as u64;
        // Two files may have the same second, so their names have a number.
        let mut number = 0;
        let file = loop {
            let name = format!("events.out.tfevents.{seconds:010}.edge-distil.{number:03}");
            match File::create_new(folder.join(name)) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
                other => break other?,
            }
        };
        let mut events = Events { file };
        events.write(Event {
            wall_time: now,
            file_version: Some("brain.Event:2".into()),
            ..Event::default()
        })?;
        if let Some(step) = first_step {
            events.write(Event {
                wall_time: now,
                step: step as i64,
                session_log: Some(SessionLog { status: START }),
                ..Event::default()
            })?;
        }
        Ok(events)
    }

    /// Appends the values of a step.
    pub(super) fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> io::Result<()> {
        let value = |(tag, value): &(String, f64)| Value {
            tag: tag.clone(),
            simple_value: Some(*value as f32),
        };
        self.write(Event {
            wall_time: wall_time(),
            step: step as i64,
            summary: Some(Summary { value: values.iter().map(value).collect() }),
            ..Event::default()
        })
    }

    /// Appends an event in one write, so that a reader never sees half of a complete event.
    fn write(&mut self, event: Event) -> io::Result<()> {
        self.file.write_all(&record(&event.encode_to_vec()))
    }
}

fn wall_time() -> f64 {
    // A clock before 1970 must not stop a training.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Encodes a TFRecord: the length, its checksum, the data, their checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(data);
    record.extend(masked(crc32c(data)).to_le_bytes());
    record
}

/// Masks a checksum; TFRecords do so because their data may contain checksums.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli) of RFC 3720.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| CRC[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Reads the records of a file and checks every checksum; an error describes the fault.
#[cfg(test)]
fn records(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(12).ok_or("half a header")?;
        let (length, crc) = head.split_at(8);
        if masked(crc32c(length)).to_le_bytes() != crc {
            return Err("a length does not have its checksum".into());
        }
        let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
        let (data, rest) = rest.split_at_checked(length).ok_or("half a record")?;
        let (crc, rest) = rest.split_at_checked(4).ok_or("half a checksum")?;
        if masked(crc32c(data)).to_le_bytes() != crc {
            return Err("a record does not have its checksum".into());
        }
        records.push(data.to_vec());
        bytes = rest;
    }
    Ok(records)
}

/// Scalars of an event file: step, tag and value.
#[cfg(test)]
pub(super) fn scalars(path: &Path) -> Vec<(i64, String, f32)> {
    let records = records(&std::fs::read(path).unwrap()).unwrap();
    let mut scalars = Vec::new();
    for (i, record) in records.iter().enumerate() {
        let event = Event::decode(record.as_slice()).unwrap();
        assert_eq!(event.file_version.is_some(), i == 0, "the version comes first, and only there");
        for value in event.summary.unwrap_or_default().value {
            scalars.push((event.step, value.tag, value.simple_value.unwrap()));
        }
    }
    scalars
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3720, B.4, and the usual check value.
    #[test]
    fn crc32c_as_in_the_rfc() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn records_are_read_back_and_damage_is_seen() {
        let file: Vec<u8> = [&b"one"[..], b"", b"three"].iter().flat_map(|d| record(d)).collect();
        assert_eq!(records(&file).unwrap(), [&b"one"[..], b"", b"three"]);
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(records(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_resume_voids_later_steps() {
        let folder = tempfile::tempdir().unwrap();
        drop(Events::create(folder.path(), None).unwrap());
        drop(Events::create(folder.path(), Some(8)).unwrap());
        let mut paths: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        assert_eq!(paths.len(), 2, "each has a file of its own");
        let resumed = records(&std::fs::read(&paths[1]).unwrap()).unwrap();
        let start = Event::decode(resumed[1].as_slice()).unwrap();
        assert_eq!((start.step, start.session_log), (8, Some(SessionLog { status: START })));
    }
}
