//! The items of a conversation, in their order. A fold is copied with every commit, and a conversation grows to tens of thousands of
//! items: so all of it but its end is shared by the copies. What was kept of it as bytes stays bytes until somebody looks at it:
//! who lists, stops or resumes a long task has nothing to do with what was said in it.

use crate::message::PromptItem;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Items that are shared together.
const PIECE_ITEMS: usize = 32;

#[derive(Clone, Default)]
pub(super) struct Conversation {
    /// Each holds some items, all the same number where no kept one is among them.
    pieces: Vec<Arc<Piece>>,
    last: Vec<Arc<PromptItem>>,
}

/// A part of a conversation that no longer changes.
struct Piece {
    length: usize,
    /// What it is made of, until somebody looks at it.
    kept: Mutex<Option<Kept>>,
    items: OnceLock<Vec<Arc<PromptItem>>>,
}

/// A part of what was kept: JSON, an array of items.
#[derive(Clone)]
struct Kept {
    whole: Arc<Vec<u8>>,
    at: Range<usize>,
}

impl Piece {
    fn of(items: Vec<Arc<PromptItem>>) -> Arc<Piece> {
        Arc::new(Piece { length: items.len(), kept: Mutex::default(), items: items.into() })
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the items. That bytes which were kept are whole is proved when they are read, by a hash of them and of the code that made
    /// them; so what cannot be understood here is a bug.
    fn items(&self) -> &[Arc<PromptItem>] {
        self.items.get_or_init(|| {
            let kept = self.kept().expect("a piece has its items or what they are made of");
            let items: Vec<_> = serde_json::from_slice(&kept.whole[kept.at]).expect("a kept piece is whole");
            assert_eq!(items.len(), self.length, "a kept piece is whole");
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
            items
        })
    }
}

impl Conversation {
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.length).sum::<usize>() + self.last.len()
    }

    pub fn push(&mut self, item: Arc<PromptItem>) {
        self.last.push(item);
        if self.last.len() == PIECE_ITEMS {
            self.pieces.push(Piece::of(std::mem::take(&mut self.last)));
        }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<PromptItem>> {
        self.from(0)
    }

    /// Returns the items from the one at `at` on; earlier pieces are not looked at.
    pub fn from(&self, at: usize) -> impl DoubleEndedIterator<Item = &Arc<PromptItem>> {
        let mut before = 0;
        let whole = self.pieces.iter().take_while(|piece| {
            let fits = before + piece.length <= at;
            before += if fits { piece.length } else { 0 };
            fits
        });
        let (whole, within) = (whole.count(), at - before);
        let pieces = self.pieces[whole..].iter().enumerate();
        let pieces = pieces.flat_map(move |(n, piece)| &piece.items()[if n == 0 { within } else { 0 }..]);
        let passed = if whole == self.pieces.len() { within.min(self.last.len()) } else { 0 };
        pieces.chain(&self.last[passed..])
    }

    pub fn get(&self, at: usize) -> Option<&Arc<PromptItem>> {
        self.from(at).next()
    }

    /// Returns the first `length` items.
    pub fn up_to(&self, length: usize) -> Conversation {
        let (mut part, mut left) = (Conversation::default(), length);
        for piece in self.pieces.iter().take_while(|piece| {
            let fits = piece.length <= left;
            left -= if fits { piece.length } else { 0 };
            fits
        }) {
            part.pieces.push(piece.clone());
        }
        let from = part.len();
        part.extend(self.from(from).take(length - from).cloned());
        part
    }

    /// Writes the items to the end of `bytes`; what nobody looked at is copied as it is.
    pub fn pack(&self, bytes: &mut Vec<u8>) {
        let pieces = self.pieces.len() + usize::from(!self.last.is_empty());
        number(bytes, pieces);
        let mut put = |length: usize, write: &dyn Fn(&mut Vec<u8>)| {
            number(bytes, length);
            let at = bytes.len();
            number(bytes, 0);
            write(bytes);
            let written = (bytes.len() - at - NUMBER) as u64;
            bytes[at..at + NUMBER].copy_from_slice(&written.to_le_bytes());
        };
        let json = |items: &[Arc<PromptItem>], bytes: &mut Vec<u8>| {
            serde_json::to_writer(bytes, items).expect("items are plain data");
        };
        for piece in &self.pieces {
            put(piece.length, &|bytes| match piece.kept() {
                Some(kept) => bytes.extend_from_slice(&kept.whole[kept.at]),
                None => json(piece.items(), bytes),
            });
        }
        if !self.last.is_empty() {
            put(self.last.len(), &|bytes| json(&self.last, bytes));
        }
    }

    /// Returns the conversation that begins in `bytes` at `at`, which then is where it ends; `None` where there is none.
    pub fn unpack(bytes: &Arc<Vec<u8>>, at: &mut usize) -> Option<Conversation> {
        let mut conversation = Conversation::default();
        for _ in 0..numbered(bytes, at)? {
            let (length, long) = (numbered(bytes, at)?, numbered(bytes, at)?);
            let end = at.checked_add(long).filter(|end| *end <= bytes.len() && length > 0)?;
            let kept = Kept { whole: bytes.clone(), at: *at..end };
            let (kept, items) = (Mutex::new(Some(kept)), OnceLock::new());
            conversation.pieces.push(Arc::new(Piece { length, kept, items }));
            *at = end;
        }
        Some(conversation)
    }
}

const NUMBER: usize = size_of::<u64>();

pub(super) fn number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend((number as u64).to_le_bytes());
}

pub(super) fn numbered(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let number = bytes.get(*at..)?.first_chunk::<NUMBER>()?;
    *at += NUMBER;
    usize::try_from(u64::from_le_bytes(*number)).ok()
}

impl Extend<Arc<PromptItem>> for Conversation {
    fn extend<T: IntoIterator<Item = Arc<PromptItem>>>(&mut self, items: T) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl FromIterator<Arc<PromptItem>> for Conversation {
    fn from_iter<T: IntoIterator<Item = Arc<PromptItem>>>(items: T) -> Conversation {
        let mut conversation = Conversation::default();
        conversation.extend(items);
        conversation
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: usize) -> Arc<PromptItem> {
        Arc::new(PromptItem::Words(n.to_string()))
    }

    fn said<'a>(items: impl Iterator<Item = &'a Arc<PromptItem>>) -> Vec<usize> {
        let number = |item: &Arc<PromptItem>| match &**item {
            PromptItem::Words(words) => words.parse().unwrap(),
            other => panic!("{other:?}"),
        };
        items.map(number).collect()
    }

    fn kept_and_read(conversation: &Conversation) -> Conversation {
        let mut bytes = b"before".to_vec();
        conversation.pack(&mut bytes);
        bytes.extend(b"after");
        let (bytes, mut at) = (Arc::new(bytes), 6);
        let read = Conversation::unpack(&bytes, &mut at).unwrap();
        assert_eq!(&bytes[at..], b"after");
        read
    }

    /// Each row: how many items there are when the conversation is kept and read back, and how many at its end.
    #[test]
    fn a_conversation_is_its_items_in_their_order_however_it_was_made() {
        let p = PIECE_ITEMS;
        for (kept, all) in
            [(0, 0), (0, 1), (1, 1), (1, 2), (p - 1, p), (p, p), (p, p + 1), (p + 3, 3 * p + 1)]
        {
            let mut made: Conversation = (0..kept).map(item).collect();
            made = kept_and_read(&made);
            made.extend((kept..all).map(item));
            let copy = made.clone();
            made.push(item(all));
            for (conversation, length) in [(&copy, all), (&made, all + 1), (&kept_and_read(&made), all + 1)] {
                assert_eq!(conversation.len(), length);
                assert_eq!(said(conversation.iter().rev()), (0..length).rev().collect::<Vec<_>>());
                for at in 0..=length {
                    assert_eq!(
                        said(conversation.from(at)),
                        (at..length).collect::<Vec<_>>(),
                        "{kept} {all} {at}"
                    );
                    assert_eq!(said(conversation.get(at).into_iter()), said(conversation.from(at).take(1)));
                    let part = conversation.up_to(at);
                    assert_eq!((said(part.iter()), part.len()), ((0..at).collect::<Vec<_>>(), at));
                }
                assert!(
                    conversation.get(length + 1).is_none() && conversation.from(length + 2).next().is_none()
                );
            }
        }
    }

    #[test]
    fn what_nobody_looks_at_stays_bytes_and_is_kept_as_it_is() {
        let read = kept_and_read(&(0..10 * PIECE_ITEMS + 1).map(item).collect());
        let looked = |conversation: &Conversation| {
            conversation.pieces.iter().filter(|piece| piece.items.get().is_some()).count()
        };
        let mut longer = read.clone();
        longer.push(item(10 * PIECE_ITEMS + 1));
        assert_eq!(said(longer.from(10 * PIECE_ITEMS)), [10 * PIECE_ITEMS, 10 * PIECE_ITEMS + 1]);
        let again = kept_and_read(&longer);
        assert_eq!((looked(&longer), looked(&again)), (1, 0));
        assert_eq!(said(again.iter()), (0..10 * PIECE_ITEMS + 2).collect::<Vec<_>>());
        assert!(
            looked(&read) == 1 && read.pieces[10].kept().is_none(),
            "the copies share what one looked at"
        );
    }

    #[test]
    fn what_was_cut_short_is_no_conversation() {
        let mut bytes = vec![];
        (0..PIECE_ITEMS + 1).map(item).collect::<Conversation>().pack(&mut bytes);
        for length in 0..bytes.len() {
            assert!(Conversation::unpack(&Arc::new(bytes[..length].to_vec()), &mut 0).is_none(), "{length}");
        }
    }
}
