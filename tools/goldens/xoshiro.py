"""The random numbers of the bootstrap: xoshiro128** 1.1, seeded with two outputs of SplitMix64, low half first.

Source: Blackman and Vigna, ACM TOMS 47 (2021); prng.di.unimi.it. Imported by evaluate_metrics.py and evaluate_rescore.py.
"""

MASK = 2**32 - 1
MASK_64 = 2**64 - 1


def split_mix_64(seed):
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK_64
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK_64
        yield z ^ (z >> 31)


def rotate_left(word, bits):
    return ((word << bits) | (word >> (32 - bits))) & MASK


def xoshiro_128_star_star(seed):
    first, second = (word for word, _ in zip(split_mix_64(seed), range(2)))
    s = [first & MASK, first >> 32, second & MASK, second >> 32]
    while True:
        yield (rotate_left((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 9) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate_left(s[3], 11)
