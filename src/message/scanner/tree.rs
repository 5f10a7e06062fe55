//! The parts that the scanner has seen, and what is made of them in the end.

use crate::message::body_structure::{Pieces, Shape, Writer, pieces};
use crate::message::content::Content;
use crate::message::structure::*;

/// A part, open or ended.
pub struct Node {
    pub depth: usize,
    pub mime: bool,
    pub digest: bool,
    /// `message/*`
    pub is_message: bool,
    pub shape: Shape,
    pub encoding: Encoding,
    pub charset: String,
    pub header: ByteRange,
    pub body: ByteRange,
    /// Line feeds before the body, and when it has ended, in it.
    pub lines: u32,
    pub pieces: Pieces,
    /// Of a message's child.
    pub envelope: Vec<u8>,
}

impl Node {
    /// A part whose header begins at `at`.
    pub fn new(depth: usize, mime: bool, at: u32) -> Node {
        Node {
            depth,
            mime,
            digest: false,
            is_message: false,
            shape: Shape::Text,
            encoding: Encoding::Identity,
            charset: String::new(),
            header: at..at,
            body: at..at,
            lines: 0,
            pieces: Pieces::default(),
            envelope: Vec::new(),
        }
    }

    /// What a header makes of its part, before limits.
    pub fn shape_of(content: &Content, in_digest: bool) -> Shape {
        match &content.media_type {
            // RFC 2046, 5.1.5.
            None if in_digest => Shape::Message,
            None => Shape::Text,
            Some(_) if content.is_type("text") => Shape::Text,
            Some(_) if content.is_type("multipart") => Shape::Multipart,
            Some(_) if content.is_media_type("message", "rfc822") => Shape::Message,
            Some(_) => Shape::Leaf,
        }
    }

    /// Takes what the header says; what would go over the budget of kept values is left out.
    pub fn describe(&mut self, content: &Content, shape: Shape, budget: &mut usize) {
        self.shape = shape;
        self.digest = shape == Shape::Multipart && content.is_media_type("multipart", "digest");
        self.is_message = content.is_type("message");
        self.encoding = content.encoding();
        self.charset = content.charset();
        let end = floor_char_boundary(&self.charset, MAX_CHARSET);
        self.charset.truncate(end);
        self.pieces = pieces(content, shape);
        let size = self.pieces.len() + self.envelope.len();
        if size > *budget {
            self.pieces = pieces(&content.bare(), shape);
            self.envelope.clear();
        }
        *budget = budget.saturating_sub(size);
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

/// The tree of parts that come in order, each after its parent; its wire form goes to `writer`.
pub fn tree(parts: Vec<Node>, writer: &mut Writer) -> Part {
    let mut parts = parts.into_iter().peekable();
    match parts.next() {
        Some(root) => assemble(root, &mut parts, writer),
        None => Part::empty(),
    }
}

impl Part {
    fn empty() -> Part {
        Part {
            kind: Kind::Text,
            encoding: Encoding::Identity,
            charset: String::new(),
            header: 0..0,
            body: 0..0,
            children: Vec::new(),
        }
    }
}

/// One part with what lies inside it. The depth of the recursion is that of the parts:
/// [`MAX_DEPTH`].
fn assemble<I>(node: Node, rest: &mut std::iter::Peekable<I>, writer: &mut Writer) -> Part
where
    I: Iterator<Item = Node>,
{
    writer.open();
    let size = node.body.end - node.body.start;
    if node.shape != Shape::Multipart {
        writer.bytes(&node.pieces.basic);
        writer.number(size);
    }
    let mut children = Vec::new();
    while let Some(child) = rest.next_if(|child| child.depth > node.depth) {
        if node.shape == Shape::Message {
            writer.bytes(b" ");
            writer.bytes(message_envelope(&child));
            writer.bytes(b" ");
        }
        children.push(assemble(child, rest, writer));
    }
    match node.shape {
        Shape::Text | Shape::Message => writer.number(node.lines),
        Shape::Multipart => {
            if children.is_empty() {
                writer.no_parts();
            }
            writer.bytes(b" ");
            writer.bytes(&node.pieces.basic);
        }
        Shape::Leaf | Shape::Truncated => {}
    }
    writer.close(&node.pieces.extension);
    Part {
        kind: match node.shape {
            Shape::Text => Kind::Text,
            Shape::Leaf if node.is_message => Kind::Text,
            Shape::Leaf | Shape::Truncated => Kind::Leaf,
            Shape::Multipart => Kind::Multipart,
            Shape::Message => Kind::Message,
        },
        encoding: node.encoding,
        charset: node.charset,
        header: node.header,
        body: node.body,
        children,
    }
}

fn message_envelope(child: &Node) -> &[u8] {
    match child.envelope.as_slice() {
        b"" => b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        envelope => envelope,
    }
}
