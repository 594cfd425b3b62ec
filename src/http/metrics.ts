// The Prometheus text format (version 0.0.4). Values are read when scraped; hot paths only ever
// add to plain number fields elsewhere.

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** Observations per bucket, the last one without an upper bound, and their sum in seconds. */
export interface HistogramCounts {
  readonly counts: Float64Array;
  readonly sumSeconds: number;
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

  /** `boundsMs` are the buckets' upper bounds in milliseconds; Prometheus wants seconds. */
  histogram(name: string, help: string, histogram: HistogramCounts, boundsMs: readonly number[]): this {
    this.metric(name, 'histogram', help);
    let cumulative = 0;
    histogram.counts.forEach((count, bucket) => {
      cumulative += count;
      const bound = boundsMs[bucket];
      this.sample(`${name}_bucket`, cumulative, { le: bound === undefined ? '+Inf' : String(bound / 1000) });
    });
    return this.sample(`${name}_sum`, histogram.sumSeconds).sample(`${name}_count`, cumulative);
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
