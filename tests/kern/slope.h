/*
 * slope: the derivative of f at t = 0 by central differences of fourth order in float64.
 * With h about 1e-3 of the distance over which f changes, what is cut off is 1e-12 of f's
 * slope and what rounding adds 1e-13 of f / h: nothing beside a float's 6e-8.
 */
#ifndef KEXA_TESTS_SLOPE_H
#define KEXA_TESTS_SLOPE_H

typedef double slope_fn(const void *arg, double t);

static inline double slope(slope_fn *f, const void *arg, double h)
{
    double near = f(arg, h) - f(arg, -h), far = f(arg, 2 * h) - f(arg, -2 * h);
    return (8 * near - far) / (12 * h);
}

#endif
