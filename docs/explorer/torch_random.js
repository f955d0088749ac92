// Random numbers as torch draws them on a CPU, so that a training in the page is the library's training, step by step.
//
// Mersenne Twister (MT19937), as torch.Generator().manual_seed(seed) has it.

const N = 624, M = 397;

export class Generator {
  constructor(seed) {
    this.state = new Uint32Array(N);
    this.state[0] = seed;
    for (let i = 1; i < N; i++) {
      const previous = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, previous) + i;
    }
    this.next = N;
  }

  // 32 random bits.
  random() {
    if (this.next === N) this.twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  twist() {
    const s = this.state;
    for (let i = 0; i < N; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % N] & 0x7fffffff);
      s[i] = s[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  // torch.randperm(n)
  permutation(n) {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = 0; i < n - 1; i++) {
      const j = i + (this.random() % (n - i));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  // torch.randn(n), for n a multiple of 16: by Box and Muller, of each 16 numbers the first eight with the last eight.
  normal(n) {
    const found = Float32Array.from({ length: n }, () => (this.random() & 0xffffff) / 2 ** 24);
    for (let i = 0; i < n; i += 16) {
      for (let j = i; j < i + 8; j++) {
        const radius = Math.sqrt(-2 * Math.log(1 - found[j])), angle = 2 * Math.PI * found[j + 8];
        found[j] = radius * Math.cos(angle);
        found[j + 8] = radius * Math.sin(angle);
      }
    }
    return found;
  }
}
