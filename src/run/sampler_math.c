#include "run/sampler.h"

#include <math.h>

/* ln 2 in two parts; the first has 33 significant bits, so k * LN2_HIGH is exact. */
#define LN2_HIGH 0x1.62e42feep-1
#define LN2_LOW 0x1.a39ef35793c76p-33
#define ONE_OVER_LN2 0x1.71547652b82fep+0

/*
 * x = k ln 2 + r with |r| <= (ln 2) / 2, exp(x) = 2^k exp(r), and exp(r) by its Taylor
 * series to r^13 / 13!, whose rest is below 2^-56.
 */
double sampler_exp(double x)
{
    static const double one_over_factorial[] = {
        1, 1, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
        1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800,
    };
    if (x < -700)
        return 0;
    int k = (int)(x * ONE_OVER_LN2 - 0.5);        /* x <= 0: rounds to nearest */
    double r = (x - k * LN2_HIGH) - k * LN2_LOW, sum = 0;
    for (int n = 13; n >= 0; n--)
        sum = one_over_factorial[n] + r * sum;
    return ldexp(sum, k);
}

/*
 * x = m 2^k with m in [sqrt(1/2), sqrt(2)); log(m) = 2 artanh(t), t = (m - 1) / (m + 1),
 * |t| < 0.172, by its series to t^19; the rest is below 2^-57.
 */
double sampler_log(double x)
{
    int k;
    double m = frexp(x, &k);
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        k--;
    }
    double t = (m - 1) / (m + 1), square = t * t, sum = 0;
    for (int n = 21; n > 1; n -= 2)
        sum = square * (1.0 / n + sum);
    return k * LN2_HIGH + (k * LN2_LOW + 2 * t * sum + 2 * t);
}
