// CLIP's tokenizer: a text to token numbers, the same as open_clip's SimpleTokenizer gives.
//
// The text is cleaned and made small, cut into words, and each word's bytes are joined, pair by pair, by the list of
// merges that CLIP was trained with (byte pair encoding).
//
// Leaves out: the repair of texts that were decoded wrongly somewhere ("Ã©" for "é"), which Python does with ftfy.

const WORD = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;
const END_OF_WORD = "</w>";
const MARKS = ["<start_of_text>", "<end_of_text>"];

export class Tokenizer {
  // merges: lines of two parts each, the most frequent pair first
  constructor(merges) {
    this.alphabet = alphabet();
    this.bytes = new Map([...this.alphabet].map(([byte, letter]) => [letter, byte]));
    const lines = merges.split("\n");
    this.rank = new Map(lines.map((line, i) => [line, i]));
    const joined = lines.map((line) => line.replace(" ", ""));
    const letters = [...this.alphabet.values()];
    const parts = [...letters, ...letters.map((letter) => letter + END_OF_WORD), ...joined];
    this.parts = parts;
    this.number = new Map(parts.map((part, i) => [part, i]));
    this.start = parts.length; // two marks follow the parts
    this.end = parts.length + 1;
    this.known = new Map(); // word -> its token numbers
  }

  // The token numbers of a text, between those of its start and its end.
  encode(text) {
    const words = clean(text).match(WORD) ?? [];
    return [this.start, ...words.flatMap((word) => this.encodeWord(word)), this.end];
  }

  // The text of one token.
  decode(token) {
    if (token >= this.start) return MARKS[token - this.start];
    const letters = this.parts[token].replace(END_OF_WORD, "");
    return new TextDecoder().decode(Uint8Array.from(letters, (letter) => this.bytes.get(letter)));
  }

  encodeWord(word) {
    if (!this.known.has(word)) {
      const letters = [...new TextEncoder().encode(word)].map((byte) => this.alphabet.get(byte));
      letters.push(letters.pop() + END_OF_WORD);
      this.known.set(word, this.join(letters).map((part) => this.number.get(part)));
    }
    return this.known.get(word);
  }

  // Join the pair that stands first in the list of merges, wherever it occurs, until no pair is in the list.
  join(parts) {
    for (;;) {
      const pairs = parts.slice(1).map((part, i) => `${parts[i]} ${part}`);
      const ranks = pairs.map((pair) => this.rank.get(pair) ?? Infinity);
      const best = ranks.reduce((a, b) => Math.min(a, b), Infinity);
      if (best === Infinity) return parts;
      const joined = [];
      for (let i = 0; i < parts.length; i++) {
        if (ranks[i] === best) joined.push(parts[i] + parts[++i]);
        else joined.push(parts[i]);
      }
      parts = joined;
    }
  }
}

// byte -> the letter that stands for it in the list of merges: bytes that print stand for themselves, and come first.
function alphabet() {
  const prints = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  const bytes = [...Array(256).keys()];
  const others = bytes.filter((byte) => !prints(byte));
  return new Map([
    ...bytes.filter(prints).map((byte) => [byte, String.fromCodePoint(byte)]),
    ...others.map((byte, i) => [byte, String.fromCodePoint(256 + i)]),
  ]);
}

// Small letters, single spaces, straight quotes; accents, ligatures, wide letters and HTML's &amp; in one form.
export function clean(text) {
  let fixed = text;
  do {
    text = fixed;
    fixed = fix(text);
  } while (fixed !== text);
  fixed = unescapeAll(unescapeAll(fixed));
  return fixed.split(/\s+/u).join(" ").trim().toLowerCase();
}

function fix(text) {
  if (!text.includes("<")) text = text.replace(/&#?[0-9A-Za-z]{1,24};/g, unescape);
  return text
    .replaceAll("ﬅ", "ſt")
    .replace(/[Ĳĳŉ\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06\uff01-\uffef\u3000]/g, (letter) => letter.normalize("NFKC"))
    .replace(/[\u201c-\u201f]/g, '"')
    .replace(/[\u02bc\u2018-\u201b]/g, "'")
    .replace(/\r\n?|[\u2028\u2029\u0085]/g, "\n")
    .replace(/[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g, "")
    .normalize("NFC");
}

function unescapeAll(text) {
  return text.replace(/&(?:#\d+;?|#[xX][\da-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/g, unescape);
}

// The browser knows the names of HTML's characters; a text area holds text, and runs nothing. Python leaves out what may
// not stand in HTML.
function unescape(entity) {
  const area = document.createElement("textarea");
  area.innerHTML = entity;
  return area.value.replace(/[\x01-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef]/g, "");
}
