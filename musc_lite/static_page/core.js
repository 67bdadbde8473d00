// What the page computes, without a page: a few bytes a patch become vectors again, then the equations of MuSc.
// A test holds each function equal to that of the library (named beside it) on the same vectors.

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function levels({ codes, low, step }) {
  return Float64Array.from(new Uint16Array(bytes(codes).buffer), (code) => low + step * code);
}

const bits = (text, length) => {
  const packed = bytes(text);
  return Array.from({ length }, (_, k) => (packed[k >> 3] >> (7 - (k & 7))) & 1);
};

// Quantized (quantized.py): vectors (N, M, K), K filled up to a multiple of 4, and squared lengths outside of them
// (N, M), flat.
function decode({ grid, names, codes, steps, outside, outsideStep, references }) {
  const [found, m, width] = [bytes(codes), grid[0] * grid[1], 4 * Math.ceil(steps.length / 4)];
  const vectors = new Float32Array(names.length * m * width);
  for (let row = 0, at = 0; row < names.length * m; row++) {
    for (let k = 0; k < steps.length; k++) vectors[row * width + k] = steps[k] * found[at++];
  }
  const rest = Float32Array.from(bytes(outside), (code) => outsideStep * code);
  return { n: names.length, m, width, vectors, rest, references };
}

// patch_distances: from patch m of image i to every patch of every image (N, M); to itself 0.
function distancesOf({ n, m: patches, width, vectors, rest }, i, m) {
  const [self, found] = [i * patches + m, new Float32Array(n * patches)];
  for (let other = 0; other < found.length; other++) {
    let squared = rest[self] + rest[other];
    for (let k = 0, a = self * width, b = other * width; k < width; k++, a++, b++) {
      const difference = vectors[a] - vectors[b];
      squared += difference * difference;
    }
    found[other] = other === self ? 0 : Math.sqrt(squared);
  }
  return found;
}

// The images that score image i: itself left out.
const othersOf = ({ references }, i) => references.filter((j) => j !== i);
const countOthers = ({ references }, i) => references.length - references.includes(i);

// nearest_patches: how far and which, in each of the images that score i, nearest first.
function nearestOf(batch, i, toAll) {
  const found = othersOf(batch, i).map((image) => {
    const begin = image * batch.m;
    let patch = 0;
    for (let m = 1; m < batch.m; m++) if (toAll[begin + m] < toAll[begin + patch]) patch = m;
    return { image, patch, distance: toAll[begin + patch] };
  });
  return found.sort((one, other) => one.distance - other.distance);
}

// similar_patch_counts, for one patch and one other image.
function countSimilar({ m }, toAll, image, threshold) {
  let count = 0;
  for (let at = image * m; at < (image + 1) * m; at++) count += toAll[at] <= threshold;
  return count;
}

// interval_bounds: which of so many sorted distances an interval holds, [first, last), at least one of them.
function intervalBounds(count, [begin, end]) {
  const first = Math.min(Math.floor(count * begin), count - 1);
  return [first, Math.max(Math.floor(count * end), first + 1)];
}

// interval_average of sorted distances.
function intervalMean(sorted, [first, last]) {
  let sum = 0;
  for (let k = first; k < last; k++) sum += sorted[k];
  return sum / (last - first);
}

// nearest_distances, sorted: for each patch one row, infinite at its end where an image is its own reference. A
// generator that tells after each pair of images which share is done, so that a page can stay awake.
function* allNearest({ n, m, width, vectors, rest, references }) {
  const [count, place] = [references.length, new Map(references.map((image, k) => [image, k]))];
  const table = new Float32Array(n * m * count).fill(Infinity);
  for (let i = 0, done = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++, done++) {
      if (!place.has(i) && !place.has(j)) continue;
      const [ofI, ofJ] = nearestOfPair(i, j);
      for (let p = 0; p < m; p++) {
        if (place.has(j)) table[(i * m + p) * count + place.get(j)] = Math.sqrt(ofI[p]);
        if (place.has(i)) table[(j * m + p) * count + place.get(i)] = Math.sqrt(ofJ[p]);
      }
      yield (2 * done) / (n * (n - 1));
    }
  }
  for (let row = 0; row < n * m; row++) table.subarray(row * count, (row + 1) * count).sort();
  return table;

  // Each product serves both directions. Components come with the largest variance first, four at a time: most patches
  // are soon seen to be farther than the nearest so far, and the rest of their components is not looked at.
  function nearestOfPair(i, j) {
    const [ofI, ofJ] = [new Float32Array(m).fill(Infinity), new Float32Array(m).fill(Infinity)];
    for (let p = 0; p < m; p++) {
      for (let q = 0; q < m; q++) {
        const limit = Math.max(ofI[p], ofJ[q]);
        let a = (i * m + p) * width;
        let b = (j * m + q) * width;
        let squared = rest[i * m + p] + rest[j * m + q];
        for (const end = a + width; a < end && squared < limit; a += 4, b += 4) {
          const first = vectors[a] - vectors[b];
          const second = vectors[a + 1] - vectors[b + 1];
          const third = vectors[a + 2] - vectors[b + 2];
          const fourth = vectors[a + 3] - vectors[b + 3];
          squared += first * first + second * second + (third * third + fourth * fourth);
        }
        if (squared < ofI[p]) ofI[p] = squared;
        if (squared < ofJ[q]) ofJ[q] = squared;
      }
    }
    return [ofI, ofJ];
  }
}

// mutual_scores: (N, M).
function patchScores(batch, table, interval) {
  const [count, scores] = [batch.references.length, new Float64Array(batch.n * batch.m)];
  for (let row = 0; row < scores.length; row++) {
    const n = countOthers(batch, Math.floor(row / batch.m));
    scores[row] = intervalMean(table.subarray(row * count, row * count + n), intervalBounds(n, interval));
  }
  return scores;
}

// similarity_counts: how many other images hold a patch within the threshold, (N, M).
function similarImages({ n, m, references }, table, threshold) {
  const count = references.length;
  return Array.from({ length: n * m }, (_, row) => {
    let k = 0;
    while (k < count && table[row * count + k] <= threshold) k += 1;
    return k;
  });
}

// image_scores_from_maps, of patches: the largest of each image.
function imageScores({ n, m }, scores) {
  return Array.from({ length: n }, (_, i) => Math.max(...scores.subarray(i * m, (i + 1) * m)));
}

// scale_scores: the lowest becomes 0, the highest 1.
function scaled(scores) {
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  return scores.map((score) => (score - low) / (high > low ? high - low : 1));
}

// Image i, then the others, most alike first.
function mostAlike(similarity, n, i) {
  const row = similarity.subarray(i * n, (i + 1) * n);
  const others = [...row.keys()].filter((j) => j !== i);
  return [i, ...others.sort((one, other) => row[other] - row[one])];
}

// rescore: mean over the windows of the mean over the most similar images, weighed by how similar they are.
function rescore(scores, similarity, windows) {
  const [n, before] = [scores.length, scaled(scores)];
  if (!windows.length) return before;
  return before.map((_, i) => {
    const row = similarity.subarray(i * n, (i + 1) * n);
    const nearest = [...row.keys()].sort((one, other) => row[other] - row[one]);
    const means = windows.map((size) => {
      const window = nearest.slice(0, size);
      const weight = window.reduce((sum, j) => sum + row[j], 0);
      return window.reduce((sum, j) => sum + row[j] * before[j], 0) / weight;
    });
    return means.reduce((sum, mean) => sum + mean, 0) / windows.length;
  });
}

// Indices from the highest score to the lowest, and the place of each, 1 for the highest.
const ranking = (scores) => [...scores.keys()].sort((one, other) => scores[other] - scores[one]);
const rankOf = (scores, index) => scores.reduce((rank, score) => rank + (score > scores[index]), 1);

// roc_auc_score: the share of (defective, normal) pairs in the right order, ties a half; null where one kind is absent.
function auroc(scores, labels) {
  const order = [...scores.keys()].sort((one, other) => scores[one] - scores[other]);
  let [ranks, defective] = [0, 0];
  for (let from = 0, to; from < order.length; from = to) {
    for (to = from; to < order.length && scores[order[to]] === scores[order[from]]; to++);
    const found = order.slice(from, to).reduce((sum, k) => sum + labels[k], 0);
    ranks += (found * (from + 1 + to)) / 2;
    defective += found;
  }
  const normal = order.length - defective;
  return defective && normal ? (ranks - (defective * (defective + 1)) / 2) / (defective * normal) : null;
}

export default {
  bytes, levels, bits, decode, distancesOf, countOthers, nearestOf, countSimilar, intervalBounds, intervalMean,
  allNearest, patchScores, similarImages, imageScores, scaled, mostAlike, rescore, ranking, rankOf, auroc,
};
