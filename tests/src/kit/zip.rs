//! Zips that a well-kept writer would refuse to write.

/// A member as the zip describes it, true or not.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    pub name: &'a str,
    pub data: &'a [u8],
    /// 0 stored, 8 deflated; others exist.
    pub method: u16,
    /// Bit 0: encrypted.
    pub flags: u16,
    /// The length that it claims to inflate to.
    pub len: u32,
}

impl<'a> Member<'a> {
    /// An honest one, stored.
    pub fn stored(name: &'a str, data: &'a [u8]) -> Self {
        Self {
            name,
            data,
            method: 0,
            flags: 0,
            len: u32::try_from(data.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Writes the members one after the other, as they say they are.
pub fn zip(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let offset = bytes.len() as u32;
        let common = [
            // Version needed, flags, method, time, date.
            &20_u16.to_le_bytes()[..],
            &member.flags.to_le_bytes(),
            &member.method.to_le_bytes(),
            &[0, 0, 0x21, 0],
            &crc32fast::hash(member.data).to_le_bytes(),
            &(member.data.len() as u32).to_le_bytes(),
            &member.len.to_le_bytes(),
            &(member.name.len() as u16).to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        bytes.extend(
            [
                b"PK\x03\x04",
                &common[..],
                member.name.as_bytes(),
                member.data,
            ]
            .concat(),
        );
        directory.extend(
            [
                // Made by version 2.0 on Unix.
                b"PK\x01\x02\x14\x03",
                &common[..],
                // Comment, disk, internal and external attributes.
                &[0; 2 + 2 + 2 + 4],
                &offset.to_le_bytes(),
                member.name.as_bytes(),
            ]
            .concat(),
        );
    }
    let count = (members.len() as u16).to_le_bytes();
    let end = [
        &b"PK\x05\x06\0\0\0\0"[..],
        &count,
        &count,
        &(directory.len() as u32).to_le_bytes(),
        &(bytes.len() as u32).to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    [bytes, directory, end].concat()
}
