//go:build heavy

package bench

import (
	"fmt"
	"math"
	"strings"
)

// chart is a plot of lines over a common axis.
type chart struct {
	Title, X, Y string
	LogX, LogY  bool
	Lines       []line
}

type line struct {
	Name   string
	Points []point
	Dashed bool
}

type point struct{ X, Y float64 }

const (
	chartWidth, chartHeight = 640, 360
	chartLeft, chartRight   = 72, 16
	chartTop, chartBottom   = 56, 48
)

var colours = []string{"#1f5fa8", "#c2541b", "#2c8a4b", "#7a3fa0"}

// svg draws the chart.
func (c chart) svg() string {
	x, y := c.axes()
	var b strings.Builder
	p := func(format string, a ...any) { _, _ = fmt.Fprintf(&b, format+"\n", a...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`, chartWidth, chartHeight)
	p(`<rect width="100%%" height="100%%" fill="#ffffff"/>`)
	p(`<text x="%d" y="20" font-size="14" font-weight="bold">%s</text>`, chartLeft, escape(c.Title))
	for _, v := range x.ticks {
		at := x.at(v)
		p(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#e4e4e4"/>`, at, chartTop, at, chartHeight-chartBottom)
		p(`<text x="%.1f" y="%d" text-anchor="middle" fill="#444">%s</text>`, at, chartHeight-chartBottom+16, label(v))
	}
	for _, v := range y.ticks {
		at := y.at(v)
		p(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e4e4e4"/>`, chartLeft, at, chartWidth-chartRight, at)
		p(`<text x="%d" y="%.1f" text-anchor="end" fill="#444">%s</text>`, chartLeft-6, at+4, label(v))
	}
	p(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, (chartLeft+chartWidth-chartRight)/2, chartHeight-10, escape(c.X))
	p(`<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`, (chartTop+chartHeight-chartBottom)/2, escape(c.Y))
	for i, l := range c.Lines {
		c.draw(p, i, l, x, y)
	}
	p(`</svg>`)
	return b.String()
}

func (c chart) draw(p func(string, ...any), i int, l line, x, y axis) {
	colour, dash := colours[i%len(colours)], ""
	if l.Dashed {
		dash = ` stroke-dasharray="5 4"`
	}
	var path []string
	for _, pt := range l.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(pt.X), y.at(pt.Y)))
		p(`<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>`, x.at(pt.X), y.at(pt.Y), colour)
	}
	p(`<polyline fill="none" stroke="%s" stroke-width="2"%s points="%s"/>`, colour, dash, strings.Join(path, " "))
	at := chartLeft + i*(chartWidth-chartLeft-chartRight)/len(c.Lines)
	p(`<line x1="%d" y1="38" x2="%d" y2="38" stroke="%s" stroke-width="2"%s/>`, at, at+18, colour, dash)
	p(`<text x="%d" y="42">%s</text>`, at+24, escape(l.Name))
}

// axis turns values into pixels.
type axis struct {
	low, high float64 // of the values
	from, to  float64 // in pixels
	log       bool
	ticks     []float64
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log10(v), math.Log10(low), math.Log10(high)
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

func (c chart) axes() (x, y axis) {
	x = axis{low: math.Inf(1), high: math.Inf(-1), from: chartLeft, to: chartWidth - chartRight, log: c.LogX}
	y = axis{low: math.Inf(1), high: math.Inf(-1), from: chartHeight - chartBottom, to: chartTop, log: c.LogY}
	for _, l := range c.Lines {
		for _, p := range l.Points {
			x.low, x.high = min(x.low, p.X), max(x.high, p.X)
			y.low, y.high = min(y.low, p.Y), max(y.high, p.Y)
		}
	}
	x.scale()
	y.scale()
	return x, y
}

// scale widens the axis to round values and sets its ticks.
func (a *axis) scale() {
	if a.log {
		a.low, a.high = math.Pow(10, math.Floor(math.Log10(a.low))), math.Pow(10, math.Ceil(math.Log10(a.high)))
		if a.high <= a.low {
			a.high = 10 * a.low
		}
		for v := a.low; v <= a.high*1.001; v *= 10 {
			a.ticks = append(a.ticks, v)
		}
		return
	}
	a.low = min(a.low, 0)
	step := math.Pow(10, math.Floor(math.Log10(max(a.high-a.low, 1e-9))))
	for _, finer := range []float64{1, 2, 5} {
		if (a.high-a.low)/(step/finer) <= 8 {
			step /= finer
		}
	}
	a.high = math.Ceil(a.high/step) * step
	for v := a.low; v <= a.high*1.001; v += step {
		a.ticks = append(a.ticks, v)
	}
}

// label writes a value shortly.
func label(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%gk", v/1e3)
	default:
		return fmt.Sprintf("%.4g", v)
	}
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
