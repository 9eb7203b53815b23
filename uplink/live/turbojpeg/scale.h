// One plane of a picture into another: resampled, and moved to another range of values.

#include <stdint.h>
#include <string.h>

typedef struct {
	const uint8_t *at;
	int w, h, stride;
} source;

typedef struct {
	uint8_t *at;
	int w, h, stride;
} target;

// step is where a row or a column of the target lies between two of the source: the first of them, and how much of the
// second (256 is all).
typedef struct {
	int first, second;
} step;

// place puts i of n at its centre's place among m, bilinear.
static inline step place(int i, int n, int m) {
	int64_t at = ((int64_t)(2 * i + 1) * m * 128) / n - 128; // (i + 1/2) m/n - 1/2, in 256ths
	if (at < 0) at = 0;
	if (at > (int64_t)(m - 1) * 256) at = (int64_t)(m - 1) * 256;
	step s = {(int)(at >> 8), (int)(at & 255)};
	return s;
}

// thirds makes two of every three, as place has it: of 1080 lines 720, the commonest step by far.
static void thirds(uint8_t *out, const uint8_t *in, int n, int gain, int round) {
	for (int i = 0; i < n; i++) {
		const int a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
		out[2 * i] = (uint8_t)(((3 * a + b + 2) / 4 * gain + round) >> 16);
		out[2 * i + 1] = (uint8_t)(((b + 3 * c + 2) / 4 * gain + round) >> 16);
	}
}

// resample fills dst from src: each value v becomes v * gain / 65536 + zero. row is working space for one row of the source and
// one more value; steps for one of the target. Both pictures are at least one by one.
static void resample(target dst, source src, int gain, int zero, uint8_t *row, step *steps) {
	const int round = (zero << 16) + (1 << 15);
	const int flat = dst.w == src.w;
	for (int x = 0; x < dst.w; x++) steps[x] = place(x, dst.w, src.w);
	for (int y = 0; y < dst.h; y++) {
		step v = place(y, dst.h, src.h);
		const uint8_t *a = src.at + (size_t)v.first * src.stride;
		uint8_t *out = dst.at + (size_t)y * dst.stride;
		if (v.second != 0) {
			const uint8_t *b = a + src.stride;
			const int wb = v.second, wa = 256 - wb;
			for (int x = 0; x < src.w; x++) row[x] = (uint8_t)((a[x] * wa + b[x] * wb + 128) >> 8);
			a = row;
		}
		if (flat) {
			for (int x = 0; x < dst.w; x++) out[x] = (uint8_t)((a[x] * gain + round) >> 16);
			continue;
		}
		if (3 * dst.w == 2 * src.w) {
			thirds(out, a, dst.w / 2, gain, round);
			continue;
		}
		if (a != row) memcpy(row, a, src.w);
		row[src.w] = row[src.w - 1]; // the last one's neighbour, of which nothing is taken
		for (int x = 0; x < dst.w; x++) {
			const step s = steps[x];
			const int t = (row[s.first] * (256 - s.second) + row[s.first + 1] * s.second + 128) >> 8;
			out[x] = (uint8_t)((t * gain + round) >> 16);
		}
	}
}
