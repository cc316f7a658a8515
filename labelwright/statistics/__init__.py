"""What probabilities are worth and how sure that is: calibration, metrics, intervals, paired tests. numpy only.

Owns every formula that a report's number comes from, with its source. Stages choose by it, the comparison and
``labelwright evaluate`` report by it. It scores no row, reads no file, and words no number.
"""
