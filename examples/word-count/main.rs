//! A function of the runtime `container`: counts the lines, words and bytes of what it is called with.
//!
//! All that the runtime asks for is HTTP on port 8080: `GET /readyz`, and `POST` of anything to any path.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 8080))?;
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

/// Answers one request; a connection is for one.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let headers = headers(&mut reader)?;
    let (status, answer) = match request.split(' ').next() {
        Some("GET") => ("200 OK", "ready\n".to_owned()),
        Some("POST") => ("200 OK", count(&body(&mut reader, &headers)?)),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}", answer.len());
    write!(stream, "{head}\r\n\r\n{answer}")
}

fn count(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let (lines, words) = (text.lines().count(), text.split_whitespace().count());
    format!("{{\"lines\": {lines}, \"words\": {words}, \"bytes\": {}}}\n", text.len())
}

fn headers(reader: &mut impl BufRead) -> io::Result<HashMap<String, String>> {
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { return Ok(headers) };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
}

/// The gateway passes a body on as it came: with its length, or in chunks.
fn body(reader: &mut impl BufRead, headers: &HashMap<String, String>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    reader.take(length.unwrap_or(0)).read_to_end(&mut body)?;
    Ok(body)
}
