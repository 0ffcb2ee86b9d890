//! Which connections are cut off, and which aren't.

use futures::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// The accepted end of a connection, watched, and the other end.
async fn connect(paths: &Paths, listener: &TcpListener) -> (Path, TcpStream) {
    let to = listener.local_addr().unwrap();
    let (accepted, dialled) = tokio::join!(listener.accept(), TcpStream::connect(to));
    let (accepted, from) = accepted.unwrap();
    let address =
        |socket: SocketAddr| Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port()));
    let endpoint = ConnectedPoint::Listener {
        local_addr: address(to),
        send_back_addr: address(from),
    };
    let path = paths.watch(tcp::tokio::TcpStream(accepted), &endpoint);
    (path, dialled.unwrap())
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn address_of(stream: &TcpStream) -> Multiaddr {
    let socket = stream.local_addr().unwrap();
    Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port()))
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_path_and_any_byte_keeps_it() {
    let (paths, listener) = (Paths::default(), listener().await);
    let (mut path, mut peer) = connect(&paths, &listener).await;
    let mut byte = [0];
    for _ in 0..5 {
        tokio::time::sleep(SILENCE - Duration::from_millis(100)).await;
        tokio::io::AsyncWriteExt::write_all(&mut peer, &[7])
            .await
            .unwrap();
        path.read_exact(&mut byte).await.unwrap();
    }
    let heard = tokio::time::Instant::now();
    let error = path.read_exact(&mut byte).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(heard.elapsed() >= SILENCE && heard.elapsed() < SILENCE + Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn who_is_heard_beside_a_path_keeps_it() {
    let (paths, listener) = (Paths::default(), listener().await);
    let (mut path, peer) = connect(&paths, &listener).await;
    let beside = paths.established(&address_of(&peer));
    let hearing = async {
        for _ in 0..5 {
            tokio::time::sleep(SILENCE - Duration::from_millis(100)).await;
            beside.heard();
        }
        tokio::time::Instant::now()
    };
    let mut byte = [0];
    let (read, heard) = tokio::join!(path.read_exact(&mut byte), hearing);
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert!(heard.elapsed() <= SILENCE);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_write_and_hears_nothing_is_cut_too() {
    let (paths, listener) = (Paths::default(), listener().await);
    let (mut path, _peer) = connect(&paths, &listener).await;
    let error = loop {
        if let Err(error) = path.write_all(&[0; 1 << 16]).await {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn what_leaves_from_an_address_that_is_gone_is_dead_at_once() {
    let (paths, listener) = (Paths::default(), listener().await);
    let (mut path, _peer) = connect(&paths, &listener).await;
    let mut byte = [0];
    let gone = async {
        paths.address_gone(IpAddr::from([127, 0, 0, 2]));
        tokio::task::yield_now().await;
        paths.address_gone(IpAddr::from([127, 0, 0, 1]));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        read = path.read_exact(&mut byte) => {
            assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::AddrNotAvailable);
        }
        () = gone => {}
    }
}

#[tokio::test]
async fn handshakes_that_stall_make_room_and_connections_that_stand_do_not() {
    let (paths, listener) = (Paths::default(), listener().await);
    let (member, peer) = connect(&paths, &listener).await;
    paths.established(&address_of(&peer));
    let mut stalled = Vec::new();
    for _ in 0..3 * MAX_HANDSHAKES {
        stalled.push(connect(&paths, &listener).await);
    }
    let is_cut = |path: &Path| {
        let table = paths.lock();
        table.open[&path.id()].cut.why() == Some(Why::NoRoom)
    };
    assert!(!is_cut(&member));
    let left = stalled.iter().filter(|(path, _)| !is_cut(path)).count();
    assert_eq!(left, MAX_HANDSHAKES);
    let newest = &stalled[stalled.len() - MAX_HANDSHAKES..];
    assert!(
        newest.iter().all(|(path, _)| !is_cut(path)),
        "the oldest go"
    );
    // A connection that is cut off gets an end, and is forgotten.
    let mut byte = [0];
    let (mut oldest, peer) = stalled.remove(0);
    let error = oldest.read_exact(&mut byte).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    let open = paths.lock().open.len();
    drop((oldest, peer));
    assert_eq!(paths.lock().open.len(), open - 1);
}

#[test]
fn whoever_has_most_handshakes_makes_room() {
    let mut table = Table::default();
    let open = |ip: [u8; 4], port| Open {
        local: IpAddr::from([10, 0, 0, 1]),
        remote: (ip, port).into(),
        accepted: true,
        established: None,
        cut: Arc::default(),
        beside: Beside::default(),
    };
    // A member's comes first, so it is the oldest.
    table.open.insert(0, open([10, 0, 0, 9], 1));
    for id in 1..10_000 {
        table.make_room();
        table.open.insert(id, open([10, 0, 0, 7], 1));
        table.open.retain(|_, open| open.cut.why().is_none());
    }
    assert!(table.open.contains_key(&0), "it is not the member's turn");
    assert_eq!(table.open.len(), MAX_HANDSHAKES);
}
