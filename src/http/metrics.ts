// The Prometheus text format (version 0.0.4). Values are read when scraped; hot paths only ever
// add to plain number fields elsewhere.

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** Latency buckets in seconds for {@link Histogram}: a fsync takes 0.1 ms to some 10 ms. */
export const LATENCY_BOUNDS_SECONDS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
];

/** Counts observations per bucket of {@link LATENCY_BOUNDS_SECONDS}; the last one is +Inf. */
export class Histogram {
  readonly counts = new Float64Array(LATENCY_BOUNDS_SECONDS.length + 1);
  sumSeconds = 0;

  observeMs(ms: number, times = 1): void {
    const seconds = ms / 1000;
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_SECONDS.length && seconds > LATENCY_BOUNDS_SECONDS[bucket]!) bucket++;
    this.counts[bucket]! += times;
    this.sumSeconds += seconds * times;
  }
}

/** Collects one scrape's text; a metric's samples must be added together. */
export class MetricsText {
  private text = '';

  /** Starts a metric; every sample until the next `metric` belongs to it. */
  metric(name: string, type: MetricType, help: string): this {
    this.text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    return this;
  }

  sample(name: string, value: number, labels: Record<string, string> = {}): this {
    this.text += `${name}${formatLabels(labels)} ${value}\n`;
    return this;
  }

  /** A metric of one sample. */
  single(name: string, type: MetricType, help: string, value: number, labels: Record<string, string> = {}): this {
    return this.metric(name, type, help).sample(name, value, labels);
  }

  histogram(name: string, help: string, histogram: Histogram, labels: Record<string, string> = {}): this {
    this.metric(name, 'histogram', help);
    let cumulative = 0;
    histogram.counts.forEach((count, bucket) => {
      cumulative += count;
      const bound = LATENCY_BOUNDS_SECONDS[bucket];
      this.sample(`${name}_bucket`, cumulative, { ...labels, le: bound === undefined ? '+Inf' : String(bound) });
    });
    return this.sample(`${name}_sum`, histogram.sumSeconds, labels).sample(`${name}_count`, cumulative, labels);
  }

  toString(): string {
    return this.text;
  }
}

function formatLabels(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(
    ([key, value]) => `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
