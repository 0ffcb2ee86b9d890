//! A length, `u32` in big-endian, and that many bytes.
//!
//! The other side claims the length: it is checked against a bound, and memory grows only with what
//! arrives.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&len.to_be_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Reads the bytes that follow. None if there would be more than `max`.
pub(crate) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let len = u32::from_be_bytes(len) as usize;
    if len > max {
        return Ok(None);
    }
    // Grows with what arrives, not with the claimed length.
    let mut bytes = Vec::new();
    stream.take(len as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{executor::block_on, io::Cursor};

    #[test]
    fn an_answer_is_read_back_whole_or_not_at_all() {
        let mut wire = Cursor::new(Vec::new());
        block_on(send(&mut wire, b"heads")).unwrap();
        let wire = wire.into_inner();
        assert_eq!(wire, b"\0\0\0\x05heads");
        let read = |bytes: &[u8], max| block_on(receive(&mut Cursor::new(bytes.to_vec()), max));
        assert_eq!(read(&wire, 5).unwrap().as_deref(), Some(&b"heads"[..]));
        assert_eq!(read(&wire, 4).unwrap(), None);
        for cut in 0..wire.len() {
            assert!(read(&wire[..cut], 5).is_err(), "cut at {cut}");
        }
    }
}
