// The files beside this one: read when they are first needed, and unpacked here.

export async function json(name) {
  return (await get(name)).json();
}

// The bytes of a file that may be packed with gzip. `arrived` is told of each part of it, in bytes, as it comes.
export async function unpacked(name, arrived = () => {}) {
  const reader = (await get(name)).body.getReader();
  const parts = [];
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    parts.push(value);
    arrived(value.length);
  }
  const whole = new Blob(parts);
  const [a, b] = new Uint8Array(await whole.slice(0, 2).arrayBuffer());
  if (a !== 0x1f || b !== 0x8b) return bytesOf(whole); // a server has said that it is packed: the browser unpacked it
  return bytesOf(new Response(whole.stream().pipeThrough(new DecompressionStream("gzip"))));
}

// Counts bytes: of the parts that were asked for, and of those that have come. tell(loaded, expected) is told of each.
export class Progress {
  // sizes: { part: bytes }
  constructor(sizes, tell) {
    Object.assign(this, { sizes, tell, parts: new Set(), loaded: 0 });
  }

  // A function that is to be told of the bytes of some parts as they come.
  expect(...parts) {
    for (const part of parts) this.parts.add(part);
    return (bytes) => {
      this.loaded += bytes;
      this.tell(this.loaded, [...this.parts].reduce((sum, part) => sum + this.sizes[part], 0));
    };
  }
}

// Numbers in half precision, which take half the space, as float32.
export function floats(bytes) {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  const value = Float32Array.from({ length: 1 << 16 }, (_, half) => fromHalf(half));
  return Float32Array.from(halves, (half) => value[half]);
}

function fromHalf(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = (half & 1023) / 1024;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
}

async function get(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

async function bytesOf(body) {
  return new Uint8Array(await body.arrayBuffer());
}
